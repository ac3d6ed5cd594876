"""Which labels are shown of windows, and how consecutive ones become one detection."""

from dataclasses import replace

import numpy as np

from predict.inference.tagger import ClipPrediction
from predict.output.detections import Detection, DetectionFilter, detect, has_duration

LABELS = ["x", "y"]
PREDICTION = ClipPrediction(
    start_s=np.array([0.0, 1.0, 2.0, 3.0]),
    end_s=np.array([3.0, 4.0, 5.0, 5.5]),
    windows=np.array([[0.9, 0.2], [0.6, 0.7], [0.1, 0.8], [0.5, 0.3]]),
    scores=np.array([0.5, 0.5]),
    duration_s=5.5,
)


def test_each_window_s_labels_from_the_lowest_score_on() -> None:
    found = detect(PREDICTION, LABELS, DetectionFilter(np.array(0.5)))
    assert found == [
        Detection(0, 3, "x", 0.9),
        Detection(1, 4, "x", 0.6),
        Detection(1, 4, "y", 0.7),
        Detection(2, 5, "y", 0.8),
        Detection(3, 5.5, "x", 0.5),
    ]


def test_consecutive_windows_become_one() -> None:
    found = detect(PREDICTION, LABELS, DetectionFilter(np.array(0.5), merge=True))
    assert found == [Detection(0, 4, "x", 0.9), Detection(1, 5, "y", 0.8), Detection(3, 5.5, "x", 0.5)]


def test_windows_without_duration_give_no_detection() -> None:
    apart = replace(PREDICTION, end_s=np.array([1.0, 1.5, 2.5, 3.5]))
    found = detect(apart, LABELS, DetectionFilter(np.array(0.5), merge=True))
    assert [(one.start_s, one.end_s) for one in found] == [(0, 1.5), (1, 1.5), (2, 2.5), (3, 3.5)]


def test_windows_in_silence_that_was_put_around_are_nowhere() -> None:
    padded = replace(PREDICTION, start_s=np.array([0.0, 0.0, 1.0, 2.0]), end_s=np.array([0.0, 2.0, 2.0, 2.0]))
    assert has_duration(padded).tolist() == [False, True, True, False]
    for merge in (False, True):
        found = detect(padded, LABELS, DetectionFilter(np.array(0.0), merge=merge))
        assert len(found) == (2 if merge else 4)
        assert all(one.start_s < one.end_s for one in found)
    nothing = replace(PREDICTION, start_s=np.zeros(4), end_s=np.zeros(4))
    assert len(detect(nothing, LABELS, DetectionFilter(np.array(0.0)))) == 8


def test_a_score_a_label_and_the_highest_of_a_window() -> None:
    assert detect(PREDICTION, LABELS, DetectionFilter(np.array([1.0, 0.75]))) == [Detection(2, 5, "y", 0.8)]
    top = detect(PREDICTION, LABELS, DetectionFilter(np.array(0.0), top_labels=1))
    assert [one.label for one in top] == ["x", "y", "y", "x"]


def test_nothing_is_a_valid_answer() -> None:
    assert detect(PREDICTION, LABELS, DetectionFilter(np.array(1.0))) == []
