"""What a run learns from: labels from the tables, corrections, folds, and refusals of what does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from recipe.cli import Command, parse_command
from tests.train.factories import N_BINS, OPTIONS
from tests.train.store_factories import make_frame_bank, make_training_set
from train.data.corrected_clips import apply_corrections, read_corrected_clips
from train.data.training_set import TrainingSet, load_training_set, parse_folds


def command(cache: Path, *more: str) -> Command:
    return parse_command([*OPTIONS[:-2], "--cache", str(cache), *more], "test")


def load(cache: Path, *more: str) -> TrainingSet:
    asked = command(cache, *more)
    return load_training_set(asked.recipe, asked.run_paths, torch.device("cpu"))


def edit_clips(cache: Path, clip: str, **values: str) -> None:
    path = cache / "recipe" / "clips.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in values.items():
        table.loc[table["clip"] == clip, column] = value
    table.to_csv(path, index=False)


def test_labels_come_from_the_table_so_relabelling_needs_no_features(cache: Path) -> None:
    edit_clips(cache, "clip 4.wav", labels="高い;hum")
    training_set = load(cache)
    assert training_set.frame_bank.clips == [f"clip {number}.wav" for number in range(18)]
    assert training_set.targets.argmax(1).tolist() == [0 if number == 4 else number % 3 for number in range(18)]
    assert training_set.targets[4].tolist() == [1, 0, 1]


def test_no_fold_learns_from_what_it_is_scored_on_and_together_they_score_every_curated_clip(cache: Path) -> None:
    training_set = load(cache)
    scored = []
    for fold in training_set.fold_numbers():
        training_rows, validation_rows = (
            training_set.eligible_rows(fold, with_noisy=True),
            training_set.validation_rows(fold),
        )
        assert not set(training_rows) & set(np.flatnonzero(training_set.folds == fold))
        assert not training_set.noisy[validation_rows].any()
        assert set(training_set.eligible_rows(fold, with_noisy=False)) == {
            row for row in training_rows if not training_set.noisy[row]
        }
        scored += validation_rows.tolist()
    assert sorted(scored) == list(range(15))


@pytest.mark.parametrize(
    ("options", "noisy"),
    [
        ("", True),
        ("--training.noisy_rate 0", False),
        ("--training.noisy_rate 0.01", False),
        ("--training.noisy_weight 0", False),
    ],
)
def test_noisy_clips_are_drawn_where_they_count_and_come_up(cache: Path, options: str, noisy: bool) -> None:
    asked = command(cache, *options.split())
    training_set = load_training_set(asked.recipe, asked.run_paths, torch.device("cpu"))
    training_rows = training_set.training_rows(0, asked.recipe.training)
    assert training_rows.tolist() == training_set.eligible_rows(0, with_noisy=noisy).tolist()
    alone = replace(training_set, kept=training_set.noisy.numpy())
    weight = asked.recipe.training.noisy_weight
    assert (
        alone.training_rows(0, asked.recipe.training).tolist() == alone.eligible_rows(0, with_noisy=weight > 0).tolist()
    )


def test_the_training_data_digest_is_of_labels_before_relabelling(cache: Path) -> None:
    asked = command(cache)
    training_set, training = load(cache), asked.recipe.training
    row = training_set.eligible_rows(0, with_noisy=True)[-1]
    assert training_set.noisy[row]
    targets = training_set.targets.clone()
    targets[row] = 1 - targets[row]
    relabelled = replace(training_set, targets=targets, before_relabelling=training_set)
    assert relabelled.training_data_digest(0, training) == training_set.training_data_digest(0, training)
    other = replace(training_set, targets=targets)
    assert other.training_data_digest(0, training) != training_set.training_data_digest(0, training)
    digests = [*training_set.frame_bank.digests[:-1], "0" * 32]
    other = replace(training_set, frame_bank=replace(training_set.frame_bank, digests=digests))
    assert training_set.folds[-1] != 0
    assert other.training_data_digest(0, training) != training_set.training_data_digest(0, training)
    checked = replace(training_set, noisy=torch.zeros_like(training_set.noisy))
    assert checked.training_data_digest(0, training) != training_set.training_data_digest(0, training)


def test_corrections_relabel_and_drop_clips(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "corrections.csv"
    path.write_text('clip,labels,issue_score\nclip 0.wav,"low, deep;hum",0.9\nclip 1.wav, drop,0.8\n', encoding="utf-8")
    training_set = load(cache, "--training.corrections", "~/corrections.csv")
    assert training_set.targets[0].tolist() == [1, 1, 0]
    assert training_set.frame_bank.clips == [f"clip {number}.wav" for number in range(18) if number != 1]
    assert len(training_set.targets) == len(training_set.folds) == 17


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,labels\nclip 99.wav,hum\n", "'clip 99.wav', which is no training clip"),
        ("clip,labels\nclip 1.wav,\n", r"gives 'clip 1\.wav' no labels"),
        ("clip,labels\nclip 1.wav, ; \n", r"gives 'clip 1\.wav' no labels"),
        ("clip,labels\nclip 1.wav,roar\n", r"corrections\.csv gives 'clip 1\.wav' the label 'roar'"),
        ("clip,labels\nclip 1.wav,drop;hum\n", r"corrections\.csv gives 'clip 1\.wav' the label 'drop'"),
        ("clip,labels\nclip 1.wav,hum\nclip 1.wav,drop\n", r"corrects 'clip 1\.wav' twice"),
        ("clip,label\nclip 1.wav,hum\n", "no column labels"),
    ],
)
def test_corrections_that_cannot_be_are_named(cache: Path, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load(cache, "--training.corrections", str(path))


def test_a_run_s_own_corrections_may_name_clips_that_are_no_longer_for_training(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_paths, text = command(cache).run_paths, "clip,labels\ngone.wav,hum\nclip 0.wav,drop\nclip 1.wav,drop\n"
    edit_clips(cache, "clip 0.wav", split="test", fold="-1")
    copy, named = run_paths.run_dir / "corrections.csv", tmp_path / "named.csv"
    for path in (copy, named):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    clips = read_corrected_clips(run_paths, str(copy))
    assert clips.dropped == {"clip 1.wav"}
    assert clips.table["clip"].tolist() == [f"clip {number}.wav" for number in range(18) if number != 1]
    rows = "2 rows of clips that are no training clips now are left out, the first of 'gone.wav'"
    assert capsys.readouterr().err == f"warning: {copy}: {rows}\n"
    with pytest.raises(UserError, match=r"named\.csv corrects 'gone\.wav', which is no training clip"):
        read_corrected_clips(run_paths, str(named))


def test_a_label_called_drop_and_corrections_do_not_go_together(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("clip,labels\na,drop\n", encoding="utf-8")
    table = pd.DataFrame({"clip": ["a", "b"], "labels": "hum", "split": "train", "label_quality": "curated", "fold": 0})
    assert apply_corrections(table, str(path), ["hum"]).dropped == {"a"}
    with pytest.raises(UserError, match=r"training\.corrections ~no-such-user/a\.csv: .*write the whole path"):
        apply_corrections(table, "~no-such-user/a.csv", ["hum"])
    with pytest.raises(UserError, match=r"corrections = .*: a label is called 'drop'"):
        apply_corrections(table, str(path), ["drop", "hum"])


def test_a_clip_without_labels_that_corrections_label_is_a_noisy_one(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("clip,labels\nb,hum\n", encoding="utf-8")
    rows = [
        ("a", "hum", "train", 0, "curated"),
        ("b", "", "train", 1, "unlabelled"),
        ("c", "", "train", 0, "unlabelled"),
    ]
    table = pd.DataFrame(rows, columns=["clip", "labels", "split", "fold", "label_quality"])
    corrected = apply_corrections(table, str(path), ["hum"]).table
    assert corrected["labels"].tolist() == ["hum", "hum", ""]
    assert corrected["label_quality"].tolist() == ["curated", "noisy", "unlabelled"]


def test_clips_that_could_not_be_read_are_left_out_and_said(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cache / "recipe" / "clips.csv"
    with path.open("a", encoding="utf-8") as table:
        table.write("broken.wav,/sound/broken.wav,hum,0,train,broken.wav,curated,\n")
    assert "broken.wav" not in load(cache).frame_bank.clips
    assert "1 training clips are not in the store" in capsys.readouterr().err


def test_test_clips_are_not_trained_on(cache: Path) -> None:
    edit_clips(cache, "clip 4.wav", split="test", fold="-1")
    assert "clip 4.wav" not in load(cache).frame_bank.clips


@pytest.mark.parametrize("by_bin", [False, True])
def test_frames_are_normalised_by_those_of_some_rows(cache: Path, by_bin: bool) -> None:
    training_set = load(cache)
    rows = training_set.eligible_rows(1, with_noisy=True)
    frames = np.concatenate([training_set.frame_bank.clip_frames(row).double().numpy() for row in rows.tolist()])
    mean, std = training_set.normalisation(rows, by_bin=by_bin)
    np.testing.assert_allclose(mean, frames.mean(0) if by_bin else [frames.mean()], rtol=1e-9)
    np.testing.assert_allclose(std, frames.std(0) if by_bin else [frames.std()], rtol=1e-9)


@pytest.mark.parametrize("value", [-100, 0])
@pytest.mark.parametrize("by_bin", [False, True])
def test_frames_of_nothing_but_silence_are_divided_by_more_than_nothing(value: int, by_bin: bool) -> None:
    clips = {str(number): np.full((12, N_BINS), value, np.float16) for number in range(3)}
    training_set = replace(make_training_set([[1], [1], [1]], [False] * 3), frame_bank=make_frame_bank(clips))
    assert float(training_set.normalisation(np.arange(3), by_bin=by_bin)[1].min()) > 0


@pytest.mark.parametrize("key", ["--training.metric accuracy", "--training.loss cross_entropy"])
def test_what_needs_one_label_a_clip_is_refused_for_several(cache: Path, key: str) -> None:
    edit_clips(cache, "clip 4.wav", labels="高い;hum")
    with pytest.raises(UserError, match=f"{key.split()[0].removeprefix('--')} = .*one label a clip"):
        load(cache, *key.split())


def test_a_fold_without_curated_clips_is_named(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    rows = [f"clip {number}.wav,drop" for number in range(18) if number // 3 % 3 == 1]
    path.write_text("clip,labels\n" + "\n".join(rows), encoding="utf-8")
    with pytest.raises(UserError, match="fold 1 has no curated clip"):
        load(cache, "--training.corrections", str(path)).validation_rows(1)


def test_folds_are_chosen_by_number() -> None:
    assert parse_folds("all", [1, 2, 5]) == [1, 2, 5]
    assert parse_folds("5,1,5", [1, 2, 5]) == parse_folds("5 1", [1, 2, 5]) == parse_folds("1, 5", [1, 2, 5]) == [1, 5]
    for wrong, message in (("0", "there is no fold 0, only 1, 2, 5"), ("1;2", "write all, or numbers")):
        with pytest.raises(UserError, match=message):
            parse_folds(wrong, [1, 2, 5])


def test_frames_are_kept_where_the_recipe_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.data.frame_bank.available_bytes", lambda: 100)
    banks = [load(cache, "--training.frame_storage", name).frame_bank for name in ("auto", "memory", "file")]
    assert [bank.from_file for bank in banks] == [True, False, True]

    def fill_memory(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("train.data.frame_bank._read_frames", fill_memory)
    with pytest.raises(
        UserError, match=r"^training\.frame_storage = memory: the frames do not fit in memory; use file$"
    ):
        load(cache, "--training.frame_storage", "memory")
