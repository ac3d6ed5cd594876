"""How far scores may be trusted as probabilities, and what decisions at each threshold would score."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.paths import CALIBRATION_NAME
from predict.decide.calibration import BIN_COLUMNS, calibration_error, log_loss, reliability_bins
from predict.decide.fitted_params import read_params, read_temperatures
from predict.decide.threshold_search import METRICS, count_decisions
from predict.output.summary import METRIC_NAMES, SubmissionSummary
from recipe import Prediction
from report.media.charts import Chart, Line, VerticalLine, make_chart, pick_colour
from train.networks.factory import Activation

UNIT = (0.0, 1.0)
N_THRESHOLDS = 101


def measure_calibration(
    summary: SubmissionSummary, run_dir: Path, activation: Activation, prediction: Prediction
) -> dict[str, dict[str, Any]]:
    """Calibration error, log loss and reliability bins: before and after, as make calibrate wrote them, or as it is.

    Raises UserError where make calibrate wrote those of another prediction.
    """
    content = read_params(run_dir / CALIBRATION_NAME, {"before": dict, "after": dict}, "make calibrate")
    if content:
        read_temperatures(run_dir, replace(prediction, calibrate=True))
        return {"before calibration": content["before"], "after calibration": content["after"]}
    bins = reliability_bins(summary.truth, summary.scores, activation)
    measures = {
        "calibration_error": calibration_error(bins),
        "log_loss": log_loss(summary.truth, summary.scores, activation),
        "reliability": bins.to_dict("records"),
    }
    return {"without calibration": measures}


def chart_reliability(measured: dict[str, dict[str, Any]]) -> Chart | None:
    """The fraction of positives among scores of about the same height, beside the diagonal of perfect calibration."""
    tables = {when: pd.DataFrame(measures["reliability"], columns=BIN_COLUMNS) for when, measures in measured.items()}
    lines = [
        Line(when, pick_colour(number), list(zip(bins["mean_predicted"], bins["fraction_positive"], strict=True)))
        for number, (when, bins) in enumerate(tables.items())
    ]
    diagonal = Line("perfectly calibrated", "var(--faint)", [(0, 0), (1, 1)], dashed=True)
    return make_chart(
        "reliability diagram: fraction of positives", "mean score", [*lines, diagonal], x_range=UNIT, y_range=UNIT
    )


def chart_thresholds(summary: SubmissionSummary) -> Chart | None:
    """The metrics of decisions over one threshold for all labels; vertical lines mark the thresholds in use."""
    thresholds = np.linspace(*UNIT, N_THRESHOLDS, dtype=np.float32)
    n_labels = len(summary.labels)
    counts = count_decisions(summary.scores, summary.truth, np.broadcast_to(thresholds, (n_labels, N_THRESHOLDS)))
    right, given = counts.given.sum(axis=1)
    curves = {METRIC_NAMES[metric]: counts.score(metric, counts.given) for metric in METRICS}
    with np.errstate(invalid="ignore"):  # where no label is given, or there is none
        curves |= {"precision": right / given, "recall": right / counts.present.sum()}
    lines = [
        Line(name, pick_colour(number), list(zip(thresholds.tolist(), values.tolist(), strict=True)))
        for number, (name, values) in enumerate(curves.items())
    ]
    used = np.unique(summary.thresholds.values).tolist()
    name = "threshold in use" if len(used) == 1 else "thresholds of labels"
    marked = [VerticalLine(threshold, name) for threshold in used]
    return make_chart(
        "metrics over one threshold for all labels",
        "threshold",
        lines,
        x_range=UNIT,
        y_range=UNIT,
        vertical_lines=marked,
    )
