"""What stands out in a submission, on scores small enough to see it."""

import numpy as np

from predict.decide.thresholds import Thresholds
from predict.output.ground_truth import Truth
from predict.output.summary import format_summary, summarise_submission
from train.evaluate.score_table import ScoreTable

SCORES = ScoreTable(
    ["a", "b", "c", "d", "e"],
    ["x", "y", "z"],
    np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.1], [0.6, 0.8, 0.1], [0.4, 0.0, 0.45], [0.95, 0.2, 0.7]], np.float32),
)
HALF = Thresholds(np.full(3, 0.5, np.float32), "0.5 for every label")
TRUTH = Truth(["e", "a", "b", "c"], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32), "known")


def test_top_labels_confident_unsure_and_unlabelled_clips() -> None:
    summary = summarise_submission(SCORES, HALF, None)
    assert summary.top1_counts() == [2, 2, 1]
    assert summary.most_confident(2) == [4, 0]
    assert summary.least_confident(2) == [1, 3]
    assert summary.unlabelled() == [1, 3]
    assert summary.wrong_clips() == []
    assert not summary.has_truth.any()
    assert dict(summary.top_score_percentiles())[50] == np.float32(0.8)


def test_wrong_clips_come_the_furthest_first() -> None:
    summary = summarise_submission(SCORES, HALF, TRUTH)
    # e is given x at 0.95, which it is not; b is denied y at 0.3; d is not known.
    assert summary.wrong_clips() == [4, 1]


def test_thresholds_decide_what_is_wrong() -> None:
    summary = summarise_submission(SCORES, Thresholds(np.array([0.96, 0.25, 0.5], np.float32), "tuned"), TRUTH)
    # a and c are denied x, the first at 0.9.
    assert summary.wrong_clips() == [2, 0]
    assert summary.unlabelled() == [3, 0]


def test_the_histogram_counts_every_clip_once() -> None:
    right, wrong, unknown = np.array(summarise_submission(SCORES, HALF, TRUTH).histogram(10)).T.tolist()
    assert right == [0, 0, 0, 1, 0, 0, 0, 0, 1, 1]
    assert wrong == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert unknown == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_labels_by_top1_counts_and_against_the_truth() -> None:
    rows = summarise_submission(SCORES, HALF, TRUTH).per_label_rows()
    assert [(row["top1"], row["decided"], row["present"]) for row in rows] == [(2, 3, 2), (2, 1, 2), (1, 1, 1)]
    assert [(row["precision"], row["recall"]) for row in rows] == [(2 / 3, 1.0), (1.0, 0.5), (1.0, 1.0)]


def test_examples_take_labels_in_turn() -> None:
    assert summarise_submission(SCORES, HALF, None).examples_per_label() == [4, 2, 3, 0, 1]


def test_a_clip_shows_its_highest_true_and_given_labels() -> None:
    shown = summarise_submission(SCORES, HALF, TRUTH).top_labels(4, 1)
    assert [(label["label"], label["decided"], label["present"]) for label in shown] == [
        ("x", True, False),
        ("z", True, True),
    ]


def test_the_summary_names_clips_labels_and_truth() -> None:
    lines = format_summary(summarise_submission(SCORES, HALF, TRUTH)).splitlines()
    assert "2 of 5 clips have no confident label:" in lines
    assert "2 of 4 clips of known labels are decided wrongly, the furthest off:" in lines
    assert lines[-2:] == ["  0.950  x  e  (is z)", "  0.300  y  b  (is y)"]
    assert lines[1].split() == ["x", "2", "3"]
