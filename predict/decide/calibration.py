"""Scores that are as often right as they say: a temperature, fitted on out-of-fold scores.

Guo et al., "On Calibration of Modern Neural Networks", 2017.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from core.paths import CALIBRATION_NAME
from predict.decide.fitted_params import IRRELEVANT_KEYS, changed_keys, read_fitted_params
from recipe import Prediction
from train.networks.factory import Activation

N_RELIABILITY_BINS = 15
"""Equal ones from 0 to 1, in which scores and shares of true labels are compared."""
MAX_TEMPERATURE = 20.0
"""The highest temperature, and the inverse of the lowest, that is tried."""
HALF_ULP = 2.0**-25
"""How near to 1 a score counts as in logarithms: half of float32's last place."""

SUM_TOLERANCE = 1e-6
"""By how much float32 probabilities of one clip may fail to add up to 1."""


def apply_temperature(scores: Tensor, temperature: float, activation: Activation) -> Tensor:
    """Probabilities [..., n_labels] whose logits are divided by `temperature`: above 1 they are less sure.

    Those of softmax add up to 1 at any: geometric means of several networks' do not.
    """
    if temperature == 1:
        return scores if activation == "sigmoid" else _renormalise(scores)
    precise = scores.double().clamp(torch.finfo(torch.float32).tiny, 1 - HALF_ULP)
    if activation == "softmax":
        return (precise.log() / temperature).softmax(-1).float()
    return (precise.logit() / temperature).sigmoid().float()


def _renormalise(scores: Tensor) -> Tensor:
    """Probabilities [..., n_labels] that add up to 1; those that do but for rounding stay as they are, bit for bit."""
    total = scores.double().sum(-1, keepdim=True)
    return torch.where((total - 1).abs() < SUM_TOLERANCE, scores, (scores / total).float())


def log_loss(truth: np.ndarray, scores: np.ndarray, activation: Activation) -> float:
    """Cross-entropy of scores [n_clips, n_labels] with their truth: a clip for softmax, else a clip and label."""
    likely = np.clip(scores.astype(np.float64), 1e-12, 1 - HALF_ULP)
    if activation == "softmax":
        return float(-np.log(likely[truth > 0.5]).mean())
    return float(-np.where(truth > 0.5, np.log(likely), np.log1p(-likely)).mean())


def fit_temperature(pool_scores: Callable[[float], np.ndarray], truth: np.ndarray, activation: Activation) -> float:
    """The temperature whose scores, `pool_scores` of it, have the least log loss."""
    from scipy.optimize import minimize_scalar  # half a second, that all who read a temperature would pay

    def loss(logarithm: float) -> float:
        return log_loss(truth, pool_scores(float(np.exp(logarithm))), activation)

    edge = np.log(MAX_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-3}).x))


@dataclass(frozen=True)
class ReliabilityBin:
    """Scores within some bounds: how many there are, their mean, and the share of them that are true."""

    low: float
    high: float
    count: int
    mean_predicted: float
    fraction_positive: float


def reliability_bins(truth: np.ndarray, scores: np.ndarray, activation: Activation) -> list[ReliabilityBin]:
    """The bins that are not empty: of every clip and label, or for softmax of each clip's highest score."""
    if activation == "softmax":
        best = scores.argmax(axis=1)[:, None]
        truth, scores = np.take_along_axis(truth, best, 1), np.take_along_axis(scores, best, 1)
    right, predicted = truth.ravel() > 0.5, scores.ravel().astype(np.float64)
    which = np.minimum((predicted * N_RELIABILITY_BINS).astype(np.int64), N_RELIABILITY_BINS - 1)
    return [
        ReliabilityBin(
            index / N_RELIABILITY_BINS,
            (index + 1) / N_RELIABILITY_BINS,
            int(here.sum()),
            float(predicted[here].mean()),
            float(right[here].mean()),
        )
        for index in range(N_RELIABILITY_BINS)
        if (here := which == index).any()
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: how far scores are from the share that is true, on average over the scores."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.mean_predicted - each.fraction_positive) for each in bins) / total


def read_temperature(run_dir: Path, prediction: Prediction) -> float:
    """The temperature that was fitted for a run; 1 unless `prediction.calibrate` asks for it.

    Raises UserError where it was not fitted, or for another way to predict.
    """
    if not prediction.calibrate:
        return 1.0
    path = run_dir / CALIBRATION_NAME
    content = read_fitted_params(path, ("temperature",), "make calibrate")
    if content is None:
        raise UserError(f"prediction.calibrate = true: {path} is not there; run make calibrate first")
    # One window alone is a window at the temperature of all.
    ignored = (
        *IRRELEVANT_KEYS,
        "calibrate",
        "window_threshold",
        *(["pooling"] if prediction.pooling == "center" else []),
    )
    if changed := changed_keys(content, prediction, ignored):
        raise UserError(f"{path} is for {changed}: run make calibrate again")
    value = content["temperature"]
    if not isinstance(value, int | float) or not value > 0:
        raise UserError(f"{path} has the temperature {value!r}: run make calibrate again")
    return float(value)
