"""Calibrated scores: a temperature, fitted on out-of-fold scores.

Guo et al., "On Calibration of Modern Neural Networks", 2017.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from train.networks.factory import Activation

N_RELIABILITY_BINS = 15
MAX_TEMPERATURE = 20.0
"""The highest temperature, and the inverse of the lowest, that is tried."""
HALF_ULP = 2.0**-25
"""Half of float32's last place: the least distance from 1 of a score in logarithms."""
BIN_COLUMNS = ["low", "high", "count", "mean_predicted", "fraction_positive"]
"""Of a bin of a reliability diagram."""


def apply_temperature(scores: Tensor, temperature: float, activation: Activation) -> Tensor:
    """Probabilities [..., n_labels] whose logits are divided by `temperature`: above 1 they are less confident."""
    if temperature == 1:
        return scores
    logits = _to_logits(scores, activation) / temperature
    return (logits.softmax(-1) if activation == "softmax" else logits.sigmoid()).float()


def _to_logits(scores: Tensor, activation: Activation) -> Tensor:
    """float64 logits of probabilities; for softmax their logarithms, which differ from logits by a number a clip."""
    precise = scores.double().clamp(torch.finfo(torch.float32).tiny, 1 - HALF_ULP)
    return precise.log() if activation == "softmax" else precise.logit()


def log_loss(truth: np.ndarray, scores: np.ndarray, activation: Activation) -> float:
    """Cross-entropy of scores [n_clips, n_labels]: the mean over clips for softmax, else over clips and labels."""
    likely = np.clip(scores.astype(np.float64), 1e-12, 1 - HALF_ULP)
    if activation == "softmax":
        return float(-np.log(likely[truth > 0.5]).mean())
    return float(-np.where(truth > 0.5, np.log(likely), np.log1p(-likely)).mean())


def fit_temperature(pool_scores: Callable[[float], np.ndarray], truth: np.ndarray, activation: Activation) -> float:
    """The temperature at which `pool_scores` gives the scores of the least log loss."""
    from scipy.optimize import minimize_scalar  # it takes half a second to import

    def loss(logarithm: float) -> float:
        return log_loss(truth, pool_scores(float(np.exp(logarithm))), activation)

    edge = np.log(MAX_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-3}).x))


def fit_blend_temperature(
    pool_blend: Callable[[float], np.ndarray],
    networks: Sequence[np.ndarray],
    calibrated: Sequence[np.ndarray],
    activation: Activation,
) -> float | None:
    """The temperature of several networks' blend, from clips that none was trained on and whose labels are not known.

    The mean of calibrated networks is too careful: a temperature of single networks does not fit it. Where `calibrated`
    scores of single networks hold, they tell how often labels are true beside any function of one network's logits. The
    blend's calibrated scores, `pool_blend` at the temperature, must tell the same of the networks' mean logits.

    Args: scores [n_clips, n_labels] of each network as they are, and calibrated. None where no temperature does.
    """
    from scipy.optimize import brentq

    logits = [_to_logits(torch.from_numpy(scores), activation).numpy() for scores in networks]
    mean_logits = np.mean(logits, axis=0)
    expected = np.mean([(likely * own).sum() for likely, own in zip(calibrated, logits, strict=True)])

    def excess(logarithm: float) -> float:
        return float((pool_blend(float(np.exp(logarithm))) * mean_logits).sum() - expected)

    edge = np.log(MAX_TEMPERATURE)
    if excess(-edge) * excess(edge) > 0:
        return None
    return float(np.exp(brentq(excess, -edge, edge, xtol=1e-4)))


def reliability_bins(truth: np.ndarray, scores: np.ndarray, activation: Activation) -> pd.DataFrame:
    """Equal bins of scores, but for empty ones, a row of BIN_COLUMNS each.

    The scores are those of every clip and label, or for softmax each clip's highest; a clip whose scores are all 0 has
    none.
    """
    if activation == "softmax":
        has_highest = scores.max(axis=1) > 0
        truth, scores = truth[has_highest], scores[has_highest]
        best = scores.argmax(axis=1)[:, None]
        truth, scores = np.take_along_axis(truth, best, 1), np.take_along_axis(scores, best, 1)
    predicted = scores.ravel().astype(np.float64)
    bins = np.minimum((predicted * N_RELIABILITY_BINS).astype(np.int64), N_RELIABILITY_BINS - 1)
    edges = {"low": bins / N_RELIABILITY_BINS, "high": (bins + 1) / N_RELIABILITY_BINS}
    table = pd.DataFrame({**edges, "predicted": predicted, "positive": truth.ravel() > 0.5})
    return table.groupby(["low", "high"], as_index=False).agg(
        count=("predicted", "size"), mean_predicted=("predicted", "mean"), fraction_positive=("positive", "mean")
    )


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error: how far scores are from the fraction that is true, on average over the scores.

    NaN where there is no score.
    """
    if bins.empty:
        return float("nan")
    return float(np.average((bins["mean_predicted"] - bins["fraction_positive"]).abs(), weights=bins["count"]))
