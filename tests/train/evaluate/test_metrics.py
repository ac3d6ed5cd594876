"""Metrics equal scikit-learn's and naive loops; what is undefined is left out and said."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from torch import Tensor

from train.evaluate import metrics

Case = tuple[np.ndarray, np.ndarray]


def cases() -> Iterator[Case]:
    """Truth and scores of several shapes, with ties, some clips without labels and some labels without clips."""
    random = np.random.default_rng(0)
    for n_clips, n_labels, ties in ((1, 3, False), (7, 2, False), (50, 9, False), (50, 9, True), (200, 40, True)):
        truth = random.random((n_clips, n_labels)) < 0.3
        truth[:, -1] |= ~truth.any(1)
        scores = random.random((n_clips, n_labels)).astype(np.float32)
        yield truth, np.round(scores, 1) if ties else scores


@pytest.fixture(params=list(cases()), ids=lambda case: str(case[0].shape))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def tensors(case: Case) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(case[0]).float(), torch.from_numpy(case[1])


def naive_precision(truth: np.ndarray, scores: np.ndarray, clip: int, label: int) -> float:
    """Of the labels of a clip that score at least as high as `label`, the share that is present."""
    above = scores[clip] >= scores[clip, label]
    return truth[clip][above].sum() / above.sum()


def test_lwlrap_is_scikit_learns_ranking_precision_weighted_by_labels(case: Case) -> None:
    truth, scores = case
    expected = reference.label_ranking_average_precision_score(truth, scores.astype(float), sample_weight=truth.sum(1))
    assert metrics.lwlrap(*tensors(case)) == pytest.approx(expected, abs=1e-12)


def test_lwlrap_per_class_is_a_loops_and_averages_to_lwlrap(case: Case) -> None:
    truth, scores = case
    per_class = metrics.lwlrap_per_class(*tensors(case))
    for label in range(truth.shape[1]):
        found = [naive_precision(truth, scores, clip, label) for clip in np.flatnonzero(truth[:, label]).tolist()]
        assert float(per_class[label]) == pytest.approx(np.mean(found) if found else math.nan, nan_ok=True)
    weights = torch.from_numpy(truth.sum(0) / truth.sum())
    assert float((per_class * weights).nansum()) == pytest.approx(metrics.lwlrap(*tensors(case)))


def test_average_precision_is_scikit_learns_for_labels_that_occur(case: Case) -> None:
    truth, scores = case
    per_class = metrics.average_precision_per_class(*tensors(case)).numpy()
    occurs = truth.any(0)
    expected = [reference.average_precision_score(truth[:, i], scores[:, i]) for i in np.flatnonzero(occurs)]
    assert per_class[occurs] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(per_class[~occurs]).all()
    assert metrics.mean_average_precision(*tensors(case)) == pytest.approx(np.mean(expected))


def test_decisions_score_as_in_scikit_learn(case: Case) -> None:
    truth, decisions = case[0], case[1] >= 0.6
    given_truth, given_decisions = torch.from_numpy(truth).float(), torch.from_numpy(decisions)
    defined = {"zero_division": np.nan}
    assert metrics.f1_micro(given_truth, given_decisions) == pytest.approx(
        reference.f1_score(truth, decisions, average="micro", **defined), nan_ok=True
    )
    per_class = reference.f1_score(truth, decisions, average=None, **defined)
    assert metrics.f1_per_class(given_truth, given_decisions).numpy() == pytest.approx(per_class, nan_ok=True)
    assert metrics.f1_macro(given_truth, given_decisions) == pytest.approx(np.nanmean(per_class))
    assert metrics.hamming_score(given_truth, given_decisions) == pytest.approx(
        1 - reference.hamming_loss(truth, decisions)
    )
    tables = reference.multilabel_confusion_matrix(truth, decisions)
    assert metrics.false_positives(given_truth, given_decisions).tolist() == tables[:, 0, 1].tolist()
    assert metrics.false_negatives(given_truth, given_decisions).tolist() == tables[:, 1, 0].tolist()


def test_accuracy_and_confusion_of_single_labels_are_scikit_learns() -> None:
    random = np.random.default_rng(1)
    right, scores = random.integers(0, 5, 60), random.random((60, 5))
    truth, decided = torch.eye(5)[right], scores.argmax(1)
    assert metrics.accuracy(truth, torch.from_numpy(scores)) == pytest.approx(reference.accuracy_score(right, decided))
    table = metrics.confusion_matrix(truth, torch.from_numpy(scores))
    assert table.tolist() == reference.confusion_matrix(right, decided, labels=range(5)).tolist()


def test_no_label_is_the_highest_of_scores_that_are_all_0() -> None:
    truth, scores = torch.eye(3), torch.tensor([[0.0, 0, 0], [0, 0.9, 0.1], [0.2, 0, 0]])
    assert metrics.accuracy(truth, scores) == pytest.approx(1 / 3)
    assert metrics.confusion_matrix(truth, scores).tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_clips_without_labels_do_not_change_lwlrap_and_are_said() -> None:
    truth, scores = torch.eye(3), torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    with_silent = torch.cat([truth, torch.zeros(2, 3)]), torch.cat([scores, torch.ones(2, 3)])
    assert metrics.lwlrap(*with_silent) == metrics.lwlrap(truth, scores)
    assert metrics.accuracy(*with_silent) == metrics.accuracy(truth, scores)
    assert metrics.describe_excluded(with_silent[0], ["a", "b", "c"]) == [
        "2 clips without a label are left out of lwlrap, and are negatives elsewhere"
    ]


def test_absent_labels_are_left_out_of_averages_and_are_said() -> None:
    truth, scores = torch.tensor([[1.0, 0, 0], [0, 1, 0]]), torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    assert metrics.mean_average_precision(truth, scores) == 1
    assert metrics.f1_macro(truth, scores >= 0.5) == 1
    assert metrics.describe_excluded(truth, ["a", "b", "c"]) == ["labels no clip has are left out of map: c"]


def test_nothing_to_score_is_not_a_number() -> None:
    nothing = torch.zeros(2, 3)
    assert math.isnan(metrics.lwlrap(nothing, nothing))
    assert math.isnan(metrics.mean_average_precision(nothing, nothing))
    assert math.isnan(metrics.f1_micro(nothing, nothing))


def test_a_summary_has_accuracy_only_for_single_labels() -> None:
    scores = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    assert list(metrics.compute_metrics(torch.eye(3), scores)) == list(metrics.METRICS)
    assert "accuracy" not in metrics.compute_metrics(torch.ones(3, 3), scores)


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10_000))
def test_metrics_stay_within_bounds(n_clips: int, n_labels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(n_clips, n_labels, generator=generator) < 0.5).float()
    scores = torch.rand(n_clips, n_labels, generator=generator).round(decimals=1)
    for value in metrics.compute_metrics(truth, scores).values():
        assert math.isnan(value) or 0 <= value <= 1
