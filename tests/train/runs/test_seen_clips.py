"""Networks keep which clips they were trained on: none of their scores on those is called out of fold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from recipe import Data, Recipe, as_dict
from tests.train.factories import fit, get_run_dir, write_training_dataset
from train.loop.train_fold import validate
from train.loop.train_state import may_share_dataset
from train.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.runs.seen_clips import (
    NO_CLIPS,
    NO_FRAMES,
    find_replaced_clip,
    find_trained_clip,
    hash_frames,
    hash_names,
    have_trained,
    union,
    without_names,
)


@pytest.fixture
def turned(cache: Path) -> Path:
    """A trained run `before`, and then another fold for every other clip."""
    fit(cache, "--run", "before", "--training.epochs", "1", "--data.folder", "/sound")
    turn_folds(cache)
    return cache


def turn_folds(cache: Path) -> None:
    path = cache / "recipe" / "clips.csv"
    table = pd.read_csv(path, dtype={"fold": int}, keep_default_na=False)
    table.loc[::2, "fold"] = (table.loc[::2, "fold"] + 1) % 3
    table.to_csv(path, index=False)


def test_hashes_tell_clips_apart_whatever_their_names() -> None:
    clips = [f"clip {number}.wav" for number in range(1000)] + ["高い", "\udcff", ""]
    hashes = hash_names(clips)
    assert hashes.dtype == torch.int64
    assert len(hashes.unique()) == len(clips)
    assert torch.equal(union(hashes[:5], hashes[3:9]), hashes[:9].sort().values)


def test_a_clip_is_known_by_its_name_or_its_frames_but_not_by_those_of_a_copy_elsewhere() -> None:
    seen_clips, trained_frames = hash_names(["a"]), hash_frames(["a"], ["1f"])

    def find(clips: str, digests: list[str], held_out: list[bool], seen: torch.Tensor = seen_clips) -> str | None:
        return find_trained_clip(list(clips), digests, np.array(held_out), seen, trained_frames)

    assert find("xa", ["2f", "3f"], [True, True]) == "a"
    assert find("xa", ["2f", "3f"], [True, False]) is None
    assert find("xy", ["2f", "1f"], [True, True], NO_CLIPS) == "y"
    assert find("xy", ["1f", "1f"], [True, False], NO_CLIPS) is None, "of the copy that is not held out"
    assert find_trained_clip(["x"], [""], np.array([True]), NO_CLIPS, hash_frames(["y"], [""])) is None
    assert find_trained_clip(["a"], ["1f"], np.array([True]), NO_CLIPS, NO_FRAMES) is None


def test_frames_of_a_run_that_was_started_from_are_no_recordings_since_replaced() -> None:
    trained = torch.cat([hash_frames(["a"], ["1f"]), without_names(hash_frames(["a", "b", "b"], ["2f", "3f", "3f"]))])
    assert len(trained) == 3
    assert find_replaced_clip(["a", "b"], ["1f", "4f"], trained) is None
    assert find_replaced_clip(["b", "a"], ["4f", "2f"], trained) == "a"
    assert find_replaced_clip(["b", "a"], ["4f", ""], trained) is None, "a recording that cannot be read now"
    assert have_trained(["1f", "2f", "3f", "4f"], trained).tolist() == [True, True, True, False]


def test_a_checkpoint_knows_the_clips_behind_it_and_those_of_its_start(cache: Path) -> None:
    fit(cache, "--folds", "1", "--training.epochs", "1", "--training.noisy_weight", "0")
    table = pd.read_csv(cache / "recipe" / "clips.csv")
    seen = (table["fold"] != 1) & (table["label_quality"] == "curated")
    seen_clips = load_checkpoint(get_run_dir(cache) / "fold1" / "best.pt").seen_clips
    assert torch.equal(seen_clips.sort().values, hash_names(table.loc[seen, "clip"]).sort().values)
    options = ["--run", "tuned", "--training.epochs", "1", "--training.start_from", str(get_run_dir(cache))]
    fit(cache, "--folds", "1", *options)
    tuned = get_run_dir(cache).parent / "tuned" / "fold1" / "best.pt"
    behind = table[table["fold"] != 1]
    assert torch.equal(load_checkpoint(tuned).seen_clips, hash_names(behind["clip"]).sort().values)
    narrow = ["--run", "narrow", *options[2:-1], str(tuned), "--training.noisy_weight", "0"]
    fit(cache, "--folds", "1", *narrow)
    checkpoint = load_checkpoint(tuned.parents[2] / "narrow" / "fold1" / "best.pt")
    assert torch.equal(checkpoint.seen_clips, hash_names(behind["clip"]).sort().values)
    assert have_trained(behind["frames_digest"].tolist(), checkpoint.trained_frames).all()
    assert not have_trained(table.loc[table["fold"] == 1, "frames_digest"].tolist(), checkpoint.trained_frames).any()


def test_a_run_does_not_go_on_with_other_folds(turned: Path) -> None:
    with pytest.raises(UserError, match=r"the training clips, their recordings, their labels, .* have changed"):
        fit(turned, "--run", "before", "--training.epochs", "1", "--resume")


def test_clips_seen_before_an_interrupt_stay_known(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def interrupt(*arguments: Any) -> dict[str, float]:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return validate(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("train.loop.train_fold.validate", interrupt)
        fit(cache, "--folds", "0")
    last = get_run_dir(cache) / "fold0" / "last.pt"
    before = load_checkpoint(last)
    gone, held_out = hash_names(["gone.wav"]), hash_names(["clip 0.wav"])
    save_checkpoint(last, replace(before, seen_clips=union(before.seen_clips, held_out)))
    with pytest.raises(UserError, match=r"--resume: .*last\.pt was trained on clip 'clip 0\.wav', which fold 0 holds"):
        fit(cache, "--folds", "0", "--resume")
    save_checkpoint(last, replace(before, seen_clips=union(before.seen_clips, gone)))
    fit(cache, "--folds", "0", "--resume")
    assert torch.equal(load_checkpoint(last).seen_clips, union(before.seen_clips, gone))


@pytest.mark.parametrize(("rate", "changed"), [("1", True), ("0", False)])
def test_noisy_clips_whose_labels_have_changed_count_where_they_are_drawn(
    cache: Path, rate: str, changed: bool
) -> None:
    options = ["--folds", "0", "--training.epochs", "1", "--training.noisy_rate", rate]
    fit(cache, *options)
    table = pd.read_csv(cache / "recipe" / "clips.csv", keep_default_na=False)
    seen_clips = load_checkpoint(get_run_dir(cache) / "fold0" / "best.pt").seen_clips
    drawn = table.loc[(table["fold"] != 0) & ((table["label_quality"] == "curated") | (rate == "1")), "clip"]
    assert torch.equal(seen_clips.sort().values, hash_names(drawn).sort().values)
    noisy = table.index[(table["label_quality"] == "noisy") & (table["fold"] != 0)]
    table.loc[noisy[0], "labels"] = "hum" if table.loc[noisy[0], "labels"] != "hum" else "高い"
    table.to_csv(cache / "recipe" / "clips.csv", index=False)
    if changed:
        with pytest.raises(UserError, match=r"the training clips, their recordings, their labels, .* have changed"):
            fit(cache, *options, "--resume")
    else:
        fit(cache, *options, "--resume")


def test_folds_whose_networks_have_seen_their_clips_are_trained_again(
    turned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["--run", "before", "--training.epochs", "1"]
    fit(turned, *run, "--folds", "0")
    printed = capsys.readouterr().out
    assert "fold 1: its networks" in printed
    assert "waits for folds 1, 2" in printed
    oof = get_run_dir(turned).parent / "before" / "oof.csv"
    assert not oof.exists()
    fit(turned, *run, "--folds", "1,2")
    assert oof.exists()


def test_clips_are_known_after_they_were_renamed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--training.epochs", "1")
    (cache / "recipe" / "features.h5").unlink()
    write_training_dataset(cache, noisy=3, name="renamed")
    turn_folds(cache)
    capsys.readouterr()
    fit(cache, "--training.epochs", "1", "--folds", "0")
    assert "waits for folds 1, 2" in capsys.readouterr().out


def test_networks_of_another_vocabulary_are_trained_again(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--training.epochs", "1")
    for name, column in (("clips.csv", "labels"), ("labels.csv", "label")):
        path = cache / "recipe" / name
        table = pd.read_csv(path, keep_default_na=False)
        table[column] = table[column].replace("hum", "zoom")
        table.to_csv(path, index=False)
    capsys.readouterr()
    fit(cache, "--training.epochs", "1", "--folds", "0")
    assert "waits for folds 1, 2" in capsys.readouterr().out


def test_start_from_another_dataset_may_share_clip_names(turned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (turned / "recipe").rename(turned / "other")
    write_training_dataset(turned, noisy=3, seed=1)
    before, options = turned / "other" / "runs" / "before", ["--folds", "0", "--training.epochs", "1"]
    capsys.readouterr()
    fit(turned, *options, "--training.start_from", str(before), "--data.folder", "/other")
    assert "train again" not in capsys.readouterr().out, "recordings of the same names are no replaced ones"
    table = pd.read_csv(turned / "recipe" / "clips.csv")
    seen_clips = load_checkpoint(get_run_dir(turned) / "fold0" / "best.pt").seen_clips
    assert len(seen_clips) == (table["fold"] != 0).sum()


@pytest.mark.parametrize(
    ("folder", "name", "same"),
    [
        ("~/sound", "other", True),
        ("", "other", True),
        ("/moved", "first", True),
        ("/moved", "other", False),
    ],
)
def test_a_dataset_is_known_by_its_folder_or_its_recipe(folder: str, name: str, same: bool) -> None:
    first = Recipe("first", data=Data(folder=str(Path("~/sound").expanduser())))
    checkpoint = Checkpoint({}, as_dict(first), ["hum"], 8, 10.0, 0, 0, 1, 0.5)
    assert may_share_dataset(checkpoint, Recipe(name, data=Data(folder=folder))) == same
    as_table = Recipe(name, data=Data(folder=folder, layout="csv"))
    assert may_share_dataset(checkpoint, as_table) == (folder == "~/sound")


@pytest.mark.parametrize(
    ("key", "more"),
    [("start_from", ""), ("teacher", ""), ("start_from", "--data.folder /moved --data.layout csv --data.table a.csv")],
)
def test_another_run_of_other_folds_teaches_nothing(turned: Path, key: str, more: str) -> None:
    before = get_run_dir(turned).parent / "before"
    with pytest.raises(UserError, match=rf"training\.{key}.* was trained on clip 'clip \d+\.wav', which fold 0 holds"):
        fit(turned, f"--training.{key}", str(before), *more.split())
