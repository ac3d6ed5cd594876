"""Which labels are shown of windows, and how consecutive ones become one detection."""

import numpy as np

from predict.detections import Detection, Filters, detect
from predict.tagger import Answer

LABELS = ["x", "y"]
ANSWER = Answer(
    start_s=np.array([0.0, 1.0, 2.0, 3.0]),
    end_s=np.array([3.0, 4.0, 5.0, 5.5]),
    windows=np.array([[0.9, 0.2], [0.6, 0.7], [0.1, 0.8], [0.5, 0.3]]),
    scores=np.array([0.5, 0.5]),
)


def test_each_window_s_labels_from_the_lowest_score_on() -> None:
    found = detect(ANSWER, LABELS, Filters(np.array(0.5)))
    assert found == [
        Detection(0, 3, "x", 0.9),
        Detection(1, 4, "x", 0.6),
        Detection(1, 4, "y", 0.7),
        Detection(2, 5, "y", 0.8),
        Detection(3, 5.5, "x", 0.5),
    ]


def test_consecutive_windows_become_one() -> None:
    found = detect(ANSWER, LABELS, Filters(np.array(0.5), merge=True))
    assert found == [Detection(0, 4, "x", 0.9), Detection(1, 5, "y", 0.8), Detection(3, 5.5, "x", 0.5)]


def test_a_score_a_label_and_the_highest_of_a_window() -> None:
    assert detect(ANSWER, LABELS, Filters(np.array([1.0, 0.75]))) == [Detection(2, 5, "y", 0.8)]
    top = detect(ANSWER, LABELS, Filters(np.array(0.0), top_labels=1))
    assert [one.label for one in top] == ["x", "y", "y", "x"]


def test_nothing_is_a_valid_answer() -> None:
    assert detect(ANSWER, LABELS, Filters(np.array(1.0))) == []
