"""Temperatures and reliability, against scores whose miscalibration is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as log_loss_of_sklearn

from core.errors import UserError
from core.paths import CALIBRATION_NAME
from predict.decide.calibration import (
    HALF_ULP,
    apply_temperature,
    calibration_error,
    fit_blend_temperature,
    fit_temperature,
    log_loss,
    reliability_bins,
)
from predict.decide.fitted_params import Temperatures, read_temperatures, write_params
from recipe import Prediction, as_dict
from train.evaluate.windows import Blend, blend
from train.networks.factory import Activation

ACTIVATIONS: list[Activation] = ["sigmoid", "softmax"]


def make_scores(activation: Activation, heat: float, n_clips: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn by well-calibrated probabilities, and scores whose logits are `heat` times as large."""
    random = np.random.default_rng(0)
    logits = 2 * random.standard_normal((n_clips, 4))
    if activation == "softmax":
        right = torch.from_numpy(logits).softmax(-1).numpy()
        drawn = (right.cumsum(axis=1) < random.uniform(size=(n_clips, 1))).sum(axis=1)
        truth = np.eye(4)[np.minimum(drawn, 3)]
        scores = torch.from_numpy(heat * logits).softmax(-1).numpy()
    else:
        truth = (random.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
        scores = 1 / (1 + np.exp(-heat * logits))
    return truth.astype(np.float32), scores.astype(np.float32)


def scores_at(scores: np.ndarray, temperature: float, activation: Activation) -> np.ndarray:
    return apply_temperature(torch.from_numpy(scores), temperature, activation).numpy()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_is_what_made_scores_too_sure(activation: Activation, heat: float) -> None:
    truth, scores = make_scores(activation, heat)
    found = fit_temperature(lambda temperature: scores_at(scores, temperature, activation), truth, activation)
    assert found == pytest.approx(heat, rel=0.05)
    before = calibration_error(reliability_bins(truth, scores, activation))
    after = calibration_error(reliability_bins(truth, scores_at(scores, found, activation), activation))
    assert after < 0.012
    assert before > 5 * after or heat == 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_softening_divides_logits_and_keeps_the_order(activation: Activation) -> None:
    _, scores = make_scores(activation, 1.0, 50)
    for temperature in (0.5, 1.0, 4.0):
        softened = scores_at(scores, temperature, activation)
        if activation == "softmax":
            powers = scores.astype(np.float64) ** (1 / temperature)
            expected = powers / powers.sum(axis=1, keepdims=True)
        else:
            odds = (scores.astype(np.float64) / (1 - scores.astype(np.float64))) ** (1 / temperature)
            expected = odds / (1 + odds)
        np.testing.assert_allclose(softened, expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(softened.argsort(axis=1), scores.argsort(axis=1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("how", ["mean", "geometric"])
def test_blends_stay_as_they_are_at_temperature_1(activation: Activation, how: Blend) -> None:
    scores = torch.from_numpy(np.stack([make_scores(activation, heat, 5_000)[1] for heat in (0.5, -3.0)]))
    blended = blend(scores, how, activation)
    assert torch.equal(apply_temperature(blended, 1.0, activation), blended)
    torch.testing.assert_close(apply_temperature(blended, 1 + 1e-9, activation), blended)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_certain_scores_stay_finite(activation: Activation) -> None:
    scores = np.array([[0.0, 1.0, 0.0], [1e-40, 1 - HALF_ULP, 1e-30]], np.float32)
    for temperature in (0.1, 3.0):
        softened = scores_at(scores, temperature, activation)
        assert ((softened >= 0) & (softened <= 1)).all()
    assert np.isfinite(log_loss(np.eye(3, dtype=np.float32)[:2], scores, activation))


def test_log_loss_is_scikit_learn_s() -> None:
    truth, scores = make_scores("softmax", 1.0, 200)
    likely = scores.astype(np.float64) / scores.sum(axis=1, dtype=np.float64, keepdims=True)
    expected = log_loss_of_sklearn(truth.argmax(axis=1), likely)
    assert log_loss(truth, scores, "softmax") == pytest.approx(expected, rel=1e-6)
    truth, scores = make_scores("sigmoid", 1.0, 200)
    expected = log_loss_of_sklearn(truth.ravel(), scores.ravel().astype(np.float64))
    assert log_loss(truth, scores, "sigmoid") == pytest.approx(expected, rel=1e-6)


def test_reliability_of_a_few_scores_by_hand() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [1.0, 0.0]], np.float32)
    of_highest = reliability_bins(truth, scores, "softmax")
    assert of_highest[["count", "fraction_positive"]].to_numpy().tolist() == [[1, 0.0], [1, 1.0], [1, 1.0]]
    assert calibration_error(of_highest) == pytest.approx((0.6 + 0.1 + 0) / 3)
    of_all = reliability_bins(truth, scores, "sigmoid")
    assert of_all["count"].sum() == 6
    assert calibration_error(of_all) == pytest.approx((0.1 + 0.1 + 0.6 + 0.6 + 0 + 0) / 6)
    assert of_all["high"].iloc[-1] == 1.0


def test_no_score_is_the_highest_of_scores_that_are_all_0() -> None:
    truth, scores = np.eye(3, dtype=np.float32), np.array([[0, 0, 0], [0, 0.9, 0.1], [0.2, 0, 0]], np.float32)
    bins = reliability_bins(truth, scores, "softmax")
    assert bins[["count", "fraction_positive"]].to_numpy().tolist() == [[1, 0.0], [1, 1.0]]
    assert calibration_error(bins) == pytest.approx((0.2 + 0.1) / 2)
    assert reliability_bins(truth, scores, "sigmoid")["count"].sum() == 9
    nothing = reliability_bins(truth, 0 * scores, "softmax")
    assert nothing.empty
    assert np.isnan(calibration_error(nothing))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "run make calibrate first"),
        ({"temperature": 0, "fold_temperature": 1}, "temperature 0"),
        ({"temperature": 1, "fold_temperature": 1e308}, "temperature 1e+308"),
        ({"temperature": float("nan"), "fold_temperature": 1}, "temperature nan"),
        ({"temperature": "warm"}, "its temperature is 'warm'"),
        ({"temperature": 2}, "its fold_temperature is None"),
        ({"clips": "some"}, "its temperature is None"),
    ],
)
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, content: dict[str, Any] | None, words: str) -> None:
    if content is not None:
        write_params(tmp_path / CALIBRATION_NAME, content)
    assert read_temperatures(tmp_path, Prediction()) == Temperatures(1, 1)
    with pytest.raises(UserError, match=rf"{words}.*|.*make calibrate") as caught:
        read_temperatures(tmp_path, Prediction(calibrate=True))
    assert words in str(caught.value)


def draw_networks(activation: Activation, noise: float, n_clips: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Truth [n_clips, 4], and scores [5, n_clips, 4] of networks that know its logits with noise, too sure of it."""
    random = np.random.default_rng(round(10 * noise))
    logits = 2.5 * random.standard_normal((n_clips, 4)) - 1
    networks = torch.from_numpy(2 * (logits + noise * random.standard_normal((5, n_clips, 4))))
    if activation == "softmax":
        drawn = (torch.from_numpy(logits).softmax(-1).numpy().cumsum(1) < random.uniform(size=(n_clips, 1))).sum(1)
        return np.eye(4, dtype=np.float32)[np.minimum(drawn, 3)], networks.softmax(-1).float().numpy()
    truth = random.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))
    return truth.astype(np.float32), networks.sigmoid().float().numpy()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("noise", [0.5, 1.0, 1.5])
def test_networks_together_are_calibrated_without_labels(activation: Activation, noise: float) -> None:
    truth, networks = draw_networks(activation, noise)
    of_one, labels = networks[0, :2000], truth[:2000]
    of_fold = fit_temperature(lambda at: scores_at(of_one, at, activation), labels, activation)
    unseen, labels = networks[:, 2000:], truth[2000:]
    mean = unseen.mean(0)

    def error(temperature: float) -> float:
        return calibration_error(reliability_bins(labels, scores_at(mean, temperature, activation), activation))

    calibrated = [scores_at(scores, of_fold, activation) for scores in unseen]
    found = fit_blend_temperature(lambda at: scores_at(mean, at, activation), list(unseen), calibrated, activation)
    best = fit_temperature(lambda at: scores_at(mean, at, activation), labels, activation)
    assert found is not None
    assert found == pytest.approx(best, rel=0.25)
    assert of_fold > 1.1 * best, "what fits one network is too careful for their mean"
    assert error(found) < 0.6 * error(of_fold)
    assert error(found) < error(1.0) + 0.01


def test_networks_that_contradict_their_temperature_have_none_together() -> None:
    zeros = np.full((10, 3), 0.5, np.float32)
    assert fit_blend_temperature(lambda _: zeros, [zeros + 0.2], [zeros + 0.4], "sigmoid") is None


def test_a_temperature_is_for_one_way_to_predict(tmp_path: Path) -> None:
    content = {"temperature": 2.5, "fold_temperature": 3, "prediction": as_dict(Prediction(pooling="max"))}
    write_params(tmp_path / CALIBRATION_NAME, content)
    assert read_temperatures(tmp_path, Prediction(pooling="max", calibrate=True)) == Temperatures(2.5, 3)
    with pytest.raises(UserError, match=r"prediction\.pooling max.*make calibrate"):
        read_temperatures(tmp_path, Prediction(calibrate=True))
