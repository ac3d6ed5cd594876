"""Folds: groups whole, no fold empty, balance no worse than scikit-learn's, the same for the same seed."""

import warnings

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from preprocess.dataset.folds import assign_folds


def imbalance(targets: np.ndarray, folds: np.ndarray, n_folds: int) -> float:
    """Mean over labels of the standard deviation of its share in each fold."""
    counts = np.stack([targets[folds == fold].sum(axis=0) for fold in range(n_folds)])
    return float((counts / np.maximum(targets.sum(axis=0), 1)).std(axis=0).mean())


@settings(deadline=None)
@given(
    n_folds=st.integers(2, 6),
    n_labels=st.integers(1, 6),
    group_of=st.lists(st.integers(0, 20), min_size=1, max_size=80),
    share=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_groups_stay_whole_and_no_fold_is_empty(
    n_folds: int, n_labels: int, group_of: list[int], share: float, seed: int
) -> None:
    assume(len(set(group_of)) >= n_folds)
    targets = (np.random.default_rng(seed).random((len(group_of), n_labels)) < share).astype(np.float32)
    groups = np.array(group_of)
    folds = assign_folds(targets, groups, n_folds, seed)
    assert set(folds) == set(range(n_folds))
    assert all(len(set(folds[groups == group])) == 1 for group in set(group_of))
    np.testing.assert_array_equal(folds, assign_folds(targets, groups, n_folds, seed))


@settings(derandomize=True, deadline=None)
@given(
    n_clips=st.integers(20, 200),
    n_labels=st.integers(2, 10),
    n_folds=st.integers(2, 6),
    clips_a_group=st.integers(1, 5),
    pure=st.booleans(),
    seed=st.integers(0, 99),
)
def test_balance_of_single_labels_is_no_worse_than_scikit_learn_s(
    n_clips: int, n_labels: int, n_folds: int, clips_a_group: int, pure: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, max(n_folds, n_clips // clips_a_group), n_clips)
    labels = groups % n_labels if pure else generator.integers(0, n_labels, n_clips) * generator.integers(0, 2, n_clips)
    assume(len(np.unique(groups)) >= n_folds)
    assume(np.unique(labels, return_counts=True)[1].max() >= n_folds)
    targets, theirs = np.eye(n_labels)[labels], np.empty(n_clips, dtype=int)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels rarer than folds
        for fold, (_, held_out) in enumerate(splitter.split(targets, labels, groups)):
            theirs[held_out] = fold
    own = assign_folds(targets, groups, n_folds, 0)
    assert imbalance(targets, own, n_folds) <= imbalance(targets, theirs, n_folds) + 0.03


def test_labels_of_multi_label_clips_are_spread_evenly() -> None:
    targets = (np.random.default_rng(1).random((500, 8)) < [0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0.04, 0.02]).astype(float)
    folds = assign_folds(targets, np.arange(500), 5, 0)
    counts = np.stack([targets[folds == fold].sum(axis=0) for fold in range(5)])
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 2
    assert np.ptp(np.bincount(folds)) <= 4


def test_another_seed_gives_other_folds() -> None:
    targets = np.ones((40, 1))
    assert (assign_folds(targets, np.arange(40), 4, 0) != assign_folds(targets, np.arange(40), 4, 1)).any()
