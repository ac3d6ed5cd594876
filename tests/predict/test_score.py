"""make score, by its command line, against scikit-learn."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    hamming_loss,
    label_ranking_average_precision_score,
)

from core.errors import BadInput
from predict import run
from predict.score import main
from tests.predict.conftest import LABELS, Home
from train.evaluate.score_table import write_scores


@pytest.fixture
def scored(home: Home) -> tuple[np.ndarray, np.ndarray, Path]:
    """Truth and scores of five clips with 1-3 labels, and the truth's file; the submission is in its place."""
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
    scores = np.random.default_rng(0).uniform(size=(5, 3)).astype(np.float32)
    clips = [f"{number}.wav" for number in range(5)]
    write_scores(home.places.submission(), clips, LABELS, scores, "fname")
    path = home.places.submissions / "truth.csv"
    order = [3, 1, 0, 4, 2]
    joined = [";".join(LABELS[column] for column in np.flatnonzero(truth[row])) for row in order]
    pd.DataFrame({"fname": [clips[row] for row in order], "labels": joined}).to_csv(path, index=False)
    return truth, scores, path


def test_figures_equal_scikit_learn_s(
    home: Home, scored: tuple[np.ndarray, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, scores, path = scored
    main([*home.arguments, "--truth", str(path)])
    printed = capsys.readouterr().out
    decided, n_labels = scores >= 0.5, truth.sum(axis=1)
    expected = {
        "lwlrap": label_ranking_average_precision_score(truth, scores, sample_weight=n_labels),
        "mAP": average_precision_score(truth, scores, average="macro"),
        "micro F1": f1_score(truth, decided, average="micro"),
        "macro F1": f1_score(truth, decided, average="macro"),
        "Hamming score": 1 - hamming_loss(truth, decided),
    }
    for name, value in expected.items():
        assert re.search(rf"^{name} +{value:.4f}$", printed, flags=re.M), (name, value, printed)
    assert "accuracy" not in printed
    for index, label in enumerate(LABELS):
        line = next(line for line in printed.splitlines() if line.startswith(label + " "))
        precision = average_precision_score(truth[:, index], scores[:, index])
        f1 = f1_score(truth[:, index], decided[:, index])
        figures = line[len(label) :].split()
        assert figures[:2] == [str(truth[:, index].sum()), str(decided[:, index].sum())]
        present, given = truth[:, index] == 1, decided[:, index]
        assert figures[2:4] == [str((given & ~present).sum()), str((present & ~given).sum())]
        assert figures[5:] == [f"{precision:.3f}", f"{f1:.3f}"]


def test_the_table_of_clips_is_the_truth_when_none_is_given(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    test = home.table[home.table["split"] == "test"]
    scores = np.array([[0.9, 0.2, 0.1]] * len(test), np.float32)
    write_scores(home.places.submission(), test["clip"].tolist(), LABELS, scores)
    main(home.arguments)
    printed = capsys.readouterr().out
    accuracy = (test["labels"] == LABELS[0]).mean()
    assert re.search(rf"^accuracy +{accuracy:.4f}$", printed, flags=re.M), printed


def test_the_middle_window_alone_is_scored_beside_sliding_windows(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run.main(home.arguments)
    capsys.readouterr()
    main(home.arguments)
    sliding, _, centre = capsys.readouterr().out.partition("without sliding windows")
    test = home.table[home.table["split"] == "test"]
    truth = np.array([[label == one for label in LABELS] for one in test["labels"]])
    for printed, suffix in ((sliding, ".csv"), (centre, "_centre.csv")):
        decided = pd.read_csv(home.places.submission(suffix))[LABELS].to_numpy() >= 0.5
        assert f"Hamming score  {1 - hamming_loss(truth, decided):.4f}" in printed


def test_recordings_are_scored_by_their_middle_window_too(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = Path(home.table["path"].iloc[0]).parent
    arguments = [*home.arguments, "--input", str(recordings)]
    run.main([*arguments, "--jobs", "1"])
    of_recordings = home.places.submission("_on_sound_centre.csv")
    names, truth = pd.read_csv(of_recordings)["clip"], home.places.submissions / "truth.csv"
    pd.DataFrame({"clip": names, "labels": LABELS[0]}).to_csv(truth, index=False)
    capsys.readouterr()
    main([*arguments, "--truth", str(truth)])
    _, _, centre = capsys.readouterr().out.partition("without sliding windows")
    assert f"{of_recordings} against {truth}: 12 of 12 clips" in centre


def test_decisions_are_at_the_run_s_thresholds(
    home: Home, scored: tuple[np.ndarray, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, scores, path = scored
    values = ", ".join(f'"{label}": 0.2' for label in LABELS)
    (home.places.run_home / "thresholds.json").write_text(f'{{"thresholds": {{{values}}}}}', encoding="utf-8")
    main([*home.arguments, "--truth", str(path)])
    printed = capsys.readouterr().out
    assert f"{f1_score(truth, scores >= 0.2, average='micro'):.4f}" in printed
    assert "thresholds.json" in printed


def test_a_submission_predicted_otherwise_is_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.give_test_labels("low")
    run.main([*home.arguments, "--prediction.pooling", "max"])
    capsys.readouterr()
    main(home.arguments)
    assert "was predicted with prediction.pooling max" in capsys.readouterr().err
    main([*home.arguments, "--prediction.pooling", "max"])
    assert "was predicted with" not in capsys.readouterr().err


def test_a_submission_of_other_clips_is_refused(home: Home, scored: tuple[np.ndarray, np.ndarray, Path]) -> None:
    path = scored[2]
    path.write_text("fname,labels\n0.wav,low\nelsewhere.wav,low\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"'1\.wav'"):
        main([*home.arguments, "--truth", str(path)])


def test_a_missing_submission_says_what_to_run(home: Home) -> None:
    with pytest.raises(BadInput, match=r"tiny\.csv.*make predict"):
        main(home.arguments)
