"""The table of clips: written and read back, and every way in which it cannot be trained on."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from preprocess.dataset.clip_table import (
    COLUMNS,
    check_clip_table,
    hash_frames_digests,
    read_clip_table,
    write_clip_table,
)


def sound_table() -> pd.DataFrame:
    """Four training clips in two folds, one noisy, and a test clip."""
    rows = [
        ("a.wav", "/x/a.wav", "dog", 0, "train", "a", "curated"),
        ("b\r\n'\"🎺.wav", "/x/b", "dog;rain, heavy", 1, "train", "b", "curated"),
        ("-c.wav", "/x/-c.wav", "犬", 0, "train", "c", "noisy"),
        ("NA", "/x/NA", "dog", 1, "train", "b", "noisy"),
        ("e.wav", "/x/e.wav", "", -1, "test", "e", "curated"),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_table_comes_back_with_awkward_names(tmp_path: Path) -> None:
    digests = {"a.wav": "1f", "NA": "null"}
    write_clip_table(tmp_path / "clips.csv", sound_table(), digests)
    expected = sound_table().assign(frames_digest=["1f", "", "", "null", ""])
    pd.testing.assert_frame_equal(read_clip_table(tmp_path / "clips.csv"), expected, check_dtype=False)
    assert read_clip_table(tmp_path / "clips.csv")["fold"].dtype == "int64"


def test_the_digest_of_frames_is_the_same_in_any_order_of_the_table() -> None:
    clips, digests = ["a.wav", "-c.wav", "犬", "NA"], ["1f", "2f", "3f", "4f"]
    table = sound_table().iloc[:4].assign(clip=clips, frames_digest=digests)
    assert hash_frames_digests(table[::-1], clips) == hash_frames_digests(table, clips)
    assert hash_frames_digests(table.assign(frames_digest=digests[::-1]), clips) != hash_frames_digests(table, clips)
    assert hash_frames_digests(table, clips[1:]) != hash_frames_digests(table, clips)


def test_a_missing_table_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run make features first"):
        read_clip_table(tmp_path / "clips.csv")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("fold", "zero", "has a fold that is no whole number .*zero"),
        ("fold", "9" * 20, "has a fold that is no whole number .*too large"),
        ("labels", "dog; cat", ": .* has labels 'dog; cat'"),
    ],
)
def test_a_table_that_was_edited_is_named(tmp_path: Path, column: str, value: str, words: str) -> None:
    table = sound_table().astype(object)
    table.loc[0, column] = value
    write_clip_table(tmp_path / "clips.csv", table, {})
    with pytest.raises(UserError, match=rf"clips\.csv ?{words}"):
        read_clip_table(tmp_path / "clips.csv")


def edited(**changes: Any) -> pd.DataFrame:
    """The table with whole columns changed."""
    return sound_table().assign(**changes)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (sound_table().iloc[:0], ["empty", "data.folder"]),
        (edited(clip=["a", "b", "c", "d", "a"]), ["'a'", "/x/a.wav", "/x/e.wav"]),
        (edited(path=["/x/a", "/x/y/../e", "/x/c", "/x/d", "/x/e"]), ["'e.wav'", "one recording", "keep one row"]),
        (edited(clip=["a", "", "c", "d", "e"]), ["no name", "/x/b"]),
        (edited(split=["train", "validation", "train", "train", "test"]), ["'validation'", "train or test"]),
        (edited(label_quality="doubtful"), ["a.wav", "'doubtful'", "curated or noisy or unlabelled"]),
        (edited(split="test"), ["no clip is for training"]),
        (edited(label_quality="unlabelled", labels=""), ["no clip is for training"]),
        (edited(label_quality=["curated"] * 3 + ["unlabelled", "curated"]), ["NA", "'unlabelled'", "no labels"]),
        (
            edited(split="train", fold=[0, 1, 0, 1, 0], labels=["dog", "dog", "dog", "", ""]),
            ["NA is for training", "no label"],
        ),
        (edited(labels=["dog", "", "dog", "dog", ""]), ["b", "no label", "'test'"]),
        (edited(labels=["dog", "dog; cat", "dog", "dog", ""]), ["'dog; cat'"]),
        (edited(fold=[0, -1, 0, 1, -1]), ["fold -1"]),
        (edited(fold=[3, 3, 3, 3, -1]), ["every training clip is in fold 3"]),
        (edited(fold=[0, 1, 2, 1, -1]), ["fold 2", "no curated clip"]),
        (edited(group="one"), ["'one'", "0 and 1"]),
    ],
)
def test_tables_that_cannot_be_trained_on_are_refused(table: pd.DataFrame, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check_clip_table(table)
    assert all(word in str(caught.value) for word in words), str(caught.value)
