"""A teacher keeps, adds and leaves out noisy labels fold by fold, by networks that never saw the clips held out."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from recipe.cli import parse_command
from tests.train.factories import OPTIONS, fit, get_run_dir, write_training_dataset
from train.data.training_set import load_training_set
from train.loop.relabel import describe_relabelling, relabel_noisy_clips, relabel_targets

LONG = ["--training.metric", "last", "--training.epochs", "12"]


def test_labels_are_kept_added_and_taken_by_their_scores() -> None:
    targets = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    scores = torch.tensor([[0.2, 0.79, 0.0], [0.19, 0.5, 0.8], [0.7, 0.1, 0.7], [0.9, 0.0, 0.1]])
    relabelled = relabel_targets(targets, scores, keep_threshold=0.2, add_threshold=0.8)
    assert relabelled.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]]


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine curated clips a fold, easy for a teacher, and noisy ones of which the last six have wrong labels."""
    cache = tmp_path_factory.mktemp("mislabelled")
    write_training_dataset(cache, n_clips=45, noisy=18)
    path = cache / "recipe" / "clips.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    wrong = table.index[-6:]
    table.loc[wrong, "labels"] = table.loc[wrong, "labels"].map(
        {"hum": "low, deep", "low, deep": "高い", "高い": "hum"}
    )
    table.to_csv(path, index=False)
    fit(cache, *LONG, "--run", "teacher", "--training.noisy_rate", "0")
    return cache


def test_wrong_labels_go_right_ones_stay_and_curated_clips_are_as_they_were(mislabelled: Path) -> None:
    teacher = get_run_dir(mislabelled).parent / "teacher"
    asked = parse_command([*OPTIONS[:-2], "--cache", str(mislabelled), "--training.teacher", str(teacher)], "test")
    before = load_training_set(asked.recipe, asked.run_paths, torch.device("cpu"))
    fold = 0
    after = relabel_noisy_clips(before, asked.recipe, fold, torch.device("cpu"))
    other_folds = after.folds != fold
    noisy = before.noisy.numpy()
    truth = torch.arange(45) % 3
    relabelled = noisy & other_folds & after.kept
    assert relabelled.sum() >= 8
    assert (after.targets.argmax(1)[relabelled] == truth[relabelled]).float().mean() > 0.9
    untouched = ~noisy | ~other_folds
    assert torch.equal(after.targets[untouched], before.targets[untouched])
    assert after.kept[untouched].all()
    assert not np.shares_memory(before.targets.numpy(), after.targets.numpy())
    assert describe_relabelling(before, after, fold).startswith("fold0 the teacher keeps ")


def test_a_run_learns_from_its_teacher_one_network_after_the_other_or_side_by_side(
    mislabelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = get_run_dir(mislabelled).parent
    for run, jobs in (("one", "1"), ("two", "2")):
        fit(mislabelled, "--run", run, "--jobs", jobs, "--training.teacher", str(runs / "teacher"))
        assert "fold2 the teacher keeps" in capsys.readouterr().out
    one, two = (runs / run / "oof.csv" for run in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_clips_without_labels_have_the_teacher_s_scores_and_none_without_one(
    mislabelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "unlabelled"
    shutil.copytree(mislabelled, cache)
    teacher, path = get_run_dir(cache).parent / "teacher", cache / "recipe" / "clips.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    is_unlabelled = (table["label_quality"] == "noisy") & (table.index % 2 == 0)
    table.loc[is_unlabelled, ["labels", "label_quality"]] = ["", "unlabelled"]
    table.to_csv(path, index=False)
    options = [*OPTIONS[:-2], "--cache", str(cache)]
    alone = parse_command(options, "test")
    before = load_training_set(alone.recipe, alone.run_paths, torch.device("cpu"))
    assert before.unlabelled.tolist() == is_unlabelled.tolist()
    assert not before.unlabelled[before.training_rows(0, alone.recipe.training)].any()
    asked = parse_command([*options, "--training.teacher", str(teacher)], "test")
    after = relabel_noisy_clips(before, asked.recipe, 0, torch.device("cpu"))
    rows = np.flatnonzero(before.unlabelled & (before.folds != 0))
    assert set(rows) <= set(after.training_rows(0, asked.recipe.training))
    targets = after.targets[rows]
    assert ((targets > 0) & (targets < 1)).all()
    assert (targets.argmax(1) == torch.from_numpy(rows) % 3).float().mean() > 0.9
    with_teacher, without = asked.recipe.training, alone.recipe.training
    assert after.training_data_digest(0, with_teacher) != before.training_data_digest(0, without)
    fit(cache, "--run", "student", "--training.teacher", str(teacher))
    lines = capsys.readouterr().out
    n_noisy = int((before.noisy.numpy() & ~before.unlabelled & (before.folds != 0)).sum())
    assert f" of {n_noisy} noisy clips as they are" in lines
    assert f"gives {len(rows)} clips without labels its scores" in lines
    issues = pd.read_csv(cache / "recipe" / "runs" / "student" / "label_issues.csv", keep_default_na=False)
    assert not set(issues["clip"]) & set(table.loc[is_unlabelled, "clip"])


def test_without_noisy_clips_there_is_nothing_to_relabel(mislabelled: Path) -> None:
    teacher = get_run_dir(mislabelled).parent / "teacher"
    asked = parse_command([*OPTIONS[:-2], "--cache", str(mislabelled), "--training.teacher", str(teacher)], "test")
    training_set = load_training_set(asked.recipe, asked.run_paths, torch.device("cpu"))
    elsewhere = replace(training_set, noisy=training_set.noisy & torch.from_numpy(training_set.folds == 0))
    assert elsewhere.noisy.any()
    assert relabel_noisy_clips(elsewhere, asked.recipe, 0, torch.device("cpu")) is elsewhere
    curated = replace(training_set, noisy=torch.zeros_like(training_set.noisy))
    with pytest.raises(UserError, match=r"training\.teacher = .*: the data have no noisy clips"):
        relabel_noisy_clips(curated, asked.recipe, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--training.teacher {runs}/none", r"training\.teacher = .*none: no best\.pt of fold 0 \(none there\)"),
        ("--training.teacher {runs}/recipe", "is in the folder of this run"),
        ("--training.teacher {runs}/teacher --features.fmin_hz 30", r"fmin_hz"),
    ],
)
def test_a_teacher_that_cannot_be_is_named(mislabelled: Path, more: str, message: str) -> None:
    runs = get_run_dir(mislabelled).parent
    if "/recipe" in more:
        fit(mislabelled, "--training.epochs", "1")
    with pytest.raises(UserError, match=message):
        fit(mislabelled, *more.format(runs=runs).split())
