"""Reliability and threshold curves of a run's scores, against the metrics themselves."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from predict.decide.fitted_params import Thresholds, write_params
from predict.decide.threshold_search import compute_metric
from predict.output.summary import SubmissionSummary
from recipe import Prediction, as_dict
from report.training.decisions import chart_reliability, chart_thresholds, measure_calibration

RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((40, 3)) < 0.4).astype(np.float32)
SCORES = np.clip(0.5 * TRUTH + 0.6 * RANDOM.random((40, 3)), 0, 1).astype(np.float32)


def summarise(*thresholds: float) -> SubmissionSummary:
    used, clips = Thresholds(np.array(thresholds, np.float32), "a file"), [str(number) for number in range(40)]
    return SubmissionSummary(clips, list("abc"), SCORES, used, TRUTH)


def test_curves_over_thresholds_are_the_metrics_of_decisions() -> None:
    chart = chart_thresholds(summarise(0.25, 0.5, 0.5))
    assert chart
    curves = {line.name: dict(line.points) for line in chart.lines}
    assert list(curves) == ["micro F1", "macro F1", "Hamming score", "precision", "recall"]
    for threshold in (0.0, 0.5, 0.75):
        decisions = np.float32(threshold) <= SCORES
        assert curves["micro F1"][threshold] == pytest.approx(compute_metric("f1_micro", TRUTH, decisions))
        assert curves["macro F1"][threshold] == pytest.approx(compute_metric("f1_macro", TRUTH, decisions))
        assert curves["precision"][threshold] == pytest.approx(TRUTH[decisions].mean())
        assert curves["recall"][threshold] == pytest.approx(decisions[TRUTH > 0].mean())
    assert [(line.x, line.name) for line in chart.vertical_lines] == [
        (0.25, "thresholds of labels"),
        (0.5, "thresholds of labels"),
    ]


def test_reliability_is_of_today_s_scores_or_what_make_calibrate_wrote(tmp_path: Path) -> None:
    (today,) = measure_calibration(summarise(0.5, 0.5, 0.5), tmp_path, "sigmoid", Prediction()).values()
    assert sum(each["count"] for each in today["reliability"]) == SCORES.size
    after = {**today, "calibration_error": 0.125}
    fitted = {"temperature": 1.5, "fold_temperature": 1.2, "prediction": as_dict(Prediction())}
    write_params(tmp_path / "calibration.json", {"before": today, "after": after, **fitted})
    measured = measure_calibration(summarise(0.5, 0.5, 0.5), tmp_path, "sigmoid", Prediction(threshold=0.4))
    assert measured["after calibration"]["calibration_error"] == 0.125
    chart = chart_reliability(measured)
    assert chart
    assert [line.name for line in chart.lines] == ["before calibration", "after calibration", "perfectly calibrated"]
    assert list(chart.lines[0].points) == [
        (each["mean_predicted"], each["fraction_positive"]) for each in today["reliability"]
    ]
    with pytest.raises(UserError, match=r"calibration.json is for prediction.pooling mean: run make calibrate again"):
        measure_calibration(summarise(0.5, 0.5, 0.5), tmp_path, "sigmoid", Prediction(pooling="max"))
