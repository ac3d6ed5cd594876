"""Metrics and confusions of labels, counted by hand."""

import numpy as np
import pytest

from predict.decide.fitted_params import Thresholds
from predict.output.summary import SubmissionSummary
from report.training.label_errors import count_confusions, label_metrics

LABELS = ["a", "b", "c"]


def summarise(truth: list[list[int]], scores: list[list[float]]) -> SubmissionSummary:
    values, clips = np.array(scores, np.float32), [f"{number}.wav" for number in range(len(scores))]
    thresholds = Thresholds(np.full(3, 0.5, np.float32), "0.5")
    return SubmissionSummary(clips, LABELS, values, thresholds, np.array(truth, np.float32))


SEVERAL = summarise(
    [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], [[0.9, 0.1, 0.8], [0.9, 0.7, 0.2], [0.6, 0.8, 0.7], [0.1, 0.2, 0.9]]
)


def test_several_labels_a_clip_are_confused_where_one_is_missed_and_another_given() -> None:
    confusions = count_confusions(SEVERAL)
    assert confusions["matrix"] == [[2, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert confusions["pairs"] == [("b", "c", 1)]
    assert "wrongly given" in confusions["description"]


def test_one_label_a_clip_is_confused_with_the_highest_score() -> None:
    confusions = count_confusions(summarise([[1, 0, 0], [0, 1, 0]], [[0.3, 0.4, 0.1], [0.1, 0.9, 0.2]]))
    assert confusions["matrix"] == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert confusions["pairs"] == [("a", "b", 1)]


def test_labels_are_sorted_by_average_precision_and_those_no_clip_has_come_last() -> None:
    table = label_metrics(SEVERAL).set_index("label")
    assert table.index.tolist() == ["b", "a", "c"]
    rows = table[["precision", "recall", "f1"]].to_dict("index")
    assert rows["a"] == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 0.8})
    assert rows["b"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert rows["c"] == pytest.approx({"precision": 0, "recall": np.nan, "f1": 0}, nan_ok=True)
