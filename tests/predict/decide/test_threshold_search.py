"""Thresholds, against every possible choice on clips few enough to try them all."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score, hamming_loss

from predict.decide.threshold_search import Metric, cross_fit_decisions, search_thresholds, search_with_window_threshold


def measure(metric: str, truth: np.ndarray, decisions: np.ndarray) -> float:
    if metric == "hamming":
        return 1 - float(hamming_loss(truth, decisions))
    defined = (truth.astype(bool) | decisions).any(axis=0)
    average = metric.removeprefix("f1_")
    return float(f1_score(truth[:, defined], decisions[:, defined], average=average, zero_division=0))


def clips(seed: int, n_clips: int = 7, n_labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (random.uniform(size=(n_clips, n_labels)) < 0.4).astype(np.float32)
    truth[0] = 1
    scores = np.clip(0.3 * truth + 0.2 + 0.3 * random.standard_normal(truth.shape), 0, 1).astype(np.float32)
    return scores, truth


def candidates(scores: np.ndarray) -> np.ndarray:
    ordered = np.concatenate([[0], np.unique(scores), [1.01]])
    return (ordered[1:] + ordered[:-1]) / 2


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "hamming"])
@pytest.mark.parametrize("seed", range(5))
def test_one_threshold_is_the_best_of_all(metric: Metric, seed: int) -> None:
    scores, truth = clips(seed)
    values = search_thresholds(scores, truth, metric, per_label=False)
    assert len(set(values)) == 1
    best = max(measure(metric, truth, scores >= value) for value in candidates(scores))
    assert measure(metric, truth, scores >= values) == pytest.approx(best)


@pytest.mark.parametrize("metric", ["f1_macro", "hamming"])
@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_a_label_is_the_best_of_all(metric: Metric, seed: int) -> None:
    scores, truth = clips(seed, n_clips=6, n_labels=2)
    values = search_thresholds(scores, truth, metric, per_label=True)
    every = itertools.product(*(candidates(column) for column in scores.T))
    best = max(measure(metric, truth, scores >= np.array(each)) for each in every)
    assert measure(metric, truth, scores >= values) == pytest.approx(best)


def test_micro_f1_gains_by_a_threshold_a_label() -> None:
    scores, truth = clips(0, n_clips=200)
    scores[:, 1] *= 0.2
    one, each = (search_thresholds(scores, truth, "f1_micro", per_label=per_label) for per_label in (False, True))
    assert measure("f1_micro", truth, scores >= each) > measure("f1_micro", truth, scores >= one) + 0.02


def test_a_label_no_clip_has_keeps_the_common_threshold() -> None:
    scores, truth = clips(1)
    truth[:, 2] = 0
    values = search_thresholds(scores, truth, "f1_micro", per_label=True)
    assert values[2] == search_thresholds(scores, truth, "f1_micro", per_label=False)[0]


def test_of_equally_good_thresholds_the_one_nearest_to_a_half() -> None:
    truth = np.array([[1], [0]], np.float32)
    scores = np.array([[0.9], [0.1]], np.float32)
    assert search_thresholds(scores, truth, "f1_macro", per_label=True)[0] == pytest.approx(0.5)


def test_of_few_different_scores_every_threshold_between_them_is_tried() -> None:
    scores = np.array([[0.0]] * 700 + [[0.5]] + [[1.0]] * 700, np.float32)
    truth = (scores > 0.6).astype(np.float32)
    assert search_thresholds(scores, truth, "f1_micro", per_label=False)[0] == pytest.approx(0.75)
    truth = (scores > 0.4).astype(np.float32)
    assert search_thresholds(0.6 * scores, truth, "f1_micro", per_label=False)[0] == pytest.approx(0.15)


def sparse_clips(n_clips: int = 1000, n_labels: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Clips of one label each: nearly all of their scores are near 0."""
    random = np.random.default_rng(0)
    truth = np.eye(n_labels, dtype=np.float32)[random.integers(n_labels, size=n_clips)]
    logits = 7 * truth + random.standard_normal(truth.shape)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return scores.astype(np.float32), truth


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "hamming"])
@pytest.mark.parametrize("per_label", [False, True])
def test_tuned_is_never_worse_than_untuned_on_the_clips_tuned_on(metric: Metric, per_label: bool) -> None:
    scores, truth = sparse_clips()
    values = search_thresholds(scores, truth, metric, per_label=per_label)
    assert measure(metric, truth, scores >= values) >= measure(metric, truth, scores >= 0.5)


def test_among_many_labels_whose_scores_are_near_0_the_best_threshold_is_found() -> None:
    scores, truth = sparse_clips()
    best = max(measure("f1_micro", truth, scores >= value) for value in np.linspace(0, 1, 41))
    assert measure("f1_micro", truth, scores >= search_thresholds(scores, truth, "f1_micro", per_label=False)) >= best


def test_a_threshold_lies_between_neighbouring_floats() -> None:
    scores = np.array([[0.25], [np.nextafter(np.float32(0.25), np.float32(1))]], np.float32)
    truth = np.array([[0], [1]], np.float32)
    for one in (scores, scores + np.spacing(scores)):
        assert (one >= search_thresholds(one, truth, "f1_micro", per_label=False)).tolist() == [[False], [True]]


def vote_fractions() -> tuple[dict[float, np.ndarray], np.ndarray]:
    """Shares of eight windows above thresholds, of clips whose labels lift some of their windows above 0.3."""
    random = np.random.default_rng(0)
    truth = (random.uniform(size=(60, 3)) < 0.4).astype(np.float32)
    windows = 0.25 * random.uniform(size=(60, 8, 3)) + 0.3 * truth[:, None] * (random.uniform(size=(60, 8, 3)) < 0.5)
    return {at: (windows > at).mean(axis=1).astype(np.float32) for at in (0.1, 0.3, 0.5, 0.9)}, truth


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro", "hamming"])
def test_window_threshold_and_share_are_the_best_pair(metric: Metric) -> None:
    scores_at, truth = vote_fractions()
    tuned_at, thresholds = search_with_window_threshold(scores_at, truth, metric, per_label=False)
    pairs = [(at, value) for at in scores_at for value in np.arange(17) / 16]
    best = max(measure(metric, truth, scores_at[at] >= value) for at, value in pairs)
    assert measure(metric, truth, scores_at[tuned_at] >= thresholds) == pytest.approx(best)
    assert tuned_at == 0.3


def test_a_fold_is_decided_by_what_was_tuned_on_the_others() -> None:
    scores_at, truth = vote_fractions()
    folds = np.arange(60) % 3
    decisions = cross_fit_decisions(scores_at, truth, folds, "f1_micro", per_label=False)
    for fold in range(3):
        rest = {at: scores[folds != fold] for at, scores in scores_at.items()}
        at, thresholds = search_with_window_threshold(rest, truth[folds != fold], "f1_micro", per_label=False)
        expected = scores_at[at][folds == fold] >= thresholds
        assert (decisions[folds == fold] == expected).all()
    truth[folds == 0] = 1 - truth[folds == 0]
    again = cross_fit_decisions(scores_at, truth, folds, "f1_micro", per_label=False)
    assert (again[folds == 0] == decisions[folds == 0]).all()
