"""training.corrections hold for every step: corrected labels count, and dropped clips are counted nowhere."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from predict import blend, calibrate, export, run, score, tune
from report import inspect
from tests.predict.conftest import skip_onnx
from tests.train.factories import LABELS, N_BINS, OPTIONS, fit, get_run_dir, write_training_dataset
from train import find_lr
from train.evaluate.score_table import read_scores

WITHOUT_DEVICE = OPTIONS[:-2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 12 clips of which one is relabelled and two are dropped, and one on all of them; both are predicted."""
    root = tmp_path_factory.mktemp("corrected")
    write_training_dataset(root / "cache", n_clips=12, folds=2)
    (root / "better.csv").write_text(
        "clip,labels\nclip 0.wav,高い\nclip 1.wav,drop\nclip 5.wav,drop\n", encoding="utf-8"
    )
    for name, more in (("plain", []), ("better", ["--training.corrections", str(root / "better.csv")])):
        fit(root / "cache", "--run", name, "--training.epochs", "1", "--training.metric", "last", *more)
        run.main([*arguments(root, name), "--jobs", "1"])
    return root


def arguments(root: Path, name: str, *more: str) -> list[str]:
    return [*WITHOUT_DEVICE, "--cache", f"{root}/cache", "--submissions", f"{root}/submissions", "--run", name, *more]


def truth() -> np.ndarray:
    """The corrected labels of the clips that stay."""
    labels = [2, *(number % 3 for number in range(1, 12))]
    return np.eye(3)[[label for number, label in enumerate(labels) if number not in (1, 5)]]


@pytest.mark.parametrize("name", ["better", "plain"])
def test_scores_are_of_corrected_labels_and_without_dropped_clips(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if name == "better" else ["--training.corrections", str(root / "better.csv")]
    score.main(arguments(root, name, *more))
    printed = capsys.readouterr().out
    assert "10 of 10 clips" in printed
    scores = read_scores(root / "submissions" / name / "submission.csv")
    assert len(scores.clips) == (10 if name == "better" else 12), "the plain run was predicted before the corrections"
    rows = [row for row, clip in enumerate(scores.clips) if clip not in ("clip 1.wav", "clip 5.wav")]
    accuracy = (scores.values[rows].argmax(1) == truth().argmax(1)).mean()
    assert re.search(rf"^accuracy +{accuracy:.4f}$", printed, flags=re.M), printed
    inspect.main(arguments(root, name, "--no_maps", "--features.n_bins", str(N_BINS), *more))
    assert "10 clips" in capsys.readouterr().out


def test_what_is_fitted_is_fitted_to_corrected_clips(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for main in (tune.main, calibrate.main):
        main(arguments(root, "better", "--jobs", "1"))
        assert "10 out-of-fold clips" in capsys.readouterr().out
    tune.main(arguments(root, "plain", "--jobs", "1"))
    assert "12 out-of-fold clips" in capsys.readouterr().out
    find_lr.main([*arguments(root, "lr", "--training.corrections", str(root / "better.csv")), "--steps", "10"])


def test_a_card_and_a_blend_count_corrected_clips(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_onnx(monkeypatch)
    export.main(arguments(root, "better"))
    card = (root / "submissions" / "better" / "model" / "README.md").read_text(encoding="utf-8")
    assert "10 training clips of 10 sources" in card
    oof = read_scores(get_run_dir(root / "cache").parent / "better" / "oof.csv")
    accuracy = (oof.values.argmax(1) == truth().argmax(1)).mean()
    assert f"| accuracy | {accuracy:.4f} |" in card
    one = ["--runs", "better", "better", "--fit"]
    blend.main(arguments(root, "both", *one))
    assert "out of fold, 10 clips" in capsys.readouterr().out


def test_runs_of_different_corrections_are_blended_by_those_that_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"different training\.corrections"):
        fit_only = ["--runs", "plain", "plain2", "--fit"]
        copy_run(root, "better", "plain2")
        blend.main(arguments(root, "both", *fit_only))
    capsys.readouterr()
    blend.main(arguments(root, "both", *fit_only, "--training.corrections", str(root / "better.csv")))
    assert "out of fold, 10 clips" in capsys.readouterr().out
    copy_run(root, "better", "plain3")
    runs = get_run_dir(root / "cache").parent
    for name in ("plain2", "plain3"):
        shutil.copyfile(runs / "better" / "corrections.csv", runs / name / "corrections.csv")
    blend.main(arguments(root, "both", "--runs", "plain2", "plain3", "--fit"))
    assert "out of fold, 10 clips" in capsys.readouterr().out, "copies of one table"


def copy_run(root: Path, name: str, other: str) -> None:
    """Another run of the same networks, whose submission has the clips that the first's was made without."""
    runs = get_run_dir(root / "cache").parent
    (runs / other).mkdir()
    for file in ("recipe.yaml", "oof.csv"):
        (runs / other / file).write_bytes((runs / name / file).read_bytes())
    table = pd.read_csv(root / "submissions" / "plain" / "submission.csv")
    (root / "submissions" / other).mkdir()
    table.to_csv(root / "submissions" / other / "submission.csv", index=False)


def test_out_of_fold_scores_of_recordings_since_replaced_are_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "cache", tmp_path / "cache")
    write_training_dataset(tmp_path / "cache", n_clips=12, folds=2, labels=[*LABELS, "new"])  # and other frames
    shutil.copytree(root / "submissions", tmp_path / "submissions")
    (tmp_path / "submissions" / "plain" / "provenance.json").unlink()
    for main, options in ((blend.main, ["--runs", "plain", "plain", "--fit"]), (tune.main, ["--run", "plain"])):
        with pytest.raises(UserError, match=r"clip 'clip 3\.wav' .*run make train again"):
            main(arguments(tmp_path, "all", *options))
