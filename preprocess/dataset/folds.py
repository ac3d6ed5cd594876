"""Folds that keep groups whole and spread every label evenly, for clips with any number of labels."""

import numpy as np

MAX_PASSES = 10
MAX_ORDERS, MAX_GROUPS_TRIED = 20, 4000
"""Orders of placement to try, and groups to place in all of them; each of few groups matters much."""


def assign_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """A fold 0..n_folds-1 for each clip, int64 [n_clips]; deterministic in `seed`.

    Greedy, as in iterative stratification (Sechidis et al. 2011) but by whole groups: the groups of the rarest label
    come first, the largest of them before the others, and each goes to the fold that has least of its labels. Then
    single groups move wherever that evens the folds out. The most even of several orders is returned.

    Args: targets [n_clips, n_labels] multi-hot; groups [n_clips], n_folds or more, clips of one value stay together.
    """
    names, group_of = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    counts = _sum_rows(np.column_stack([targets, np.ones(len(targets))]), group_of, len(names))
    counts /= np.maximum(counts.sum(axis=0), 1)
    generator = np.random.default_rng(seed)
    n_orders = max(1, min(MAX_ORDERS, MAX_GROUPS_TRIED // len(names)))
    tries = [_assign_groups(counts, n_folds, generator) for _ in range(n_orders)]
    return min(tries, key=lambda fold_of: (_sum_rows(counts, fold_of, n_folds) ** 2).sum())[group_of]


def _sum_rows(rows: np.ndarray, index: np.ndarray, n_sums: int) -> np.ndarray:
    """The sum of the rows of each index, float64 [n_sums, n_columns]."""
    sums = np.zeros((n_sums, rows.shape[1]))
    np.add.at(sums, index, rows)
    return sums


def _assign_groups(counts: np.ndarray, n_folds: int, generator: np.random.Generator) -> np.ndarray:
    """The fold of each group, of one order: by the groups' rarest labels, then by their randomly reduced sizes."""
    size = counts.max(axis=1) * generator.uniform(0.5, 1, len(counts))
    rarity = np.where(counts > 0, (counts > 0).sum(axis=0), len(counts) + 1).min(axis=1)
    fold_of = _place_groups(counts, np.lexsort((-size, rarity)), n_folds)
    _improve_by_moves(counts, fold_of, n_folds)
    return fold_of


def _place_groups(counts: np.ndarray, order: np.ndarray, n_folds: int) -> np.ndarray:
    """The fold of each group: the one that overlaps it least, or an empty one when no more groups are left."""
    loads = np.zeros((n_folds, counts.shape[1]))
    n_groups = np.zeros(n_folds, dtype=np.int64)
    fold_of = np.empty(len(counts), dtype=np.int64)
    for position, group in enumerate(order):
        overlap = loads @ counts[group]
        if len(order) - position <= (n_groups == 0).sum():
            overlap[n_groups > 0] = np.inf
        fold = int(overlap.argmin())
        fold_of[group] = fold
        loads[fold] += counts[group]
        n_groups[fold] += 1
    return fold_of


def _improve_by_moves(counts: np.ndarray, fold_of: np.ndarray, n_folds: int) -> None:
    """Move single groups in `fold_of` while that lowers the sum of squared loads and empties no fold."""
    loads = _sum_rows(counts, fold_of, n_folds)
    n_groups = np.bincount(fold_of, minlength=n_folds)
    for _ in range(MAX_PASSES):
        any_moved = False
        for group, group_counts in enumerate(counts):
            here = fold_of[group]
            if n_groups[here] == 1:
                continue
            gain = (loads[here] - group_counts - loads) @ group_counts
            gain[here] = 0
            there = int(gain.argmax())
            if gain[there] > 1e-12:
                loads[[here, there]] += [-group_counts, group_counts]
                n_groups[[here, there]] += [-1, 1]
                fold_of[group], any_moved = there, True
        if not any_moved:
            return
