"""Folds that keep groups whole and spread every label evenly, for clips with any number of labels."""

import numpy as np

from core.errors import UserError

MAX_PASSES = 10
MAX_ORDERS, MAX_GROUPS_TRIED = 20, 4000
"""Few groups weigh much each, and are tried in up to 20 orders; in all about so many groups are placed."""


def assign_folds(targets: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """A fold 0..n_folds-1 for each clip, int64 [n_clips]; deterministic in `seed`.

    Greedy, as in iterative stratification (Sechidis et al. 2011) but by whole groups: the groups of the rarest label
    come first, the largest of them before the others, and each goes to the fold that has least of what it brings. Then
    single groups move wherever that evens the folds out. Of several orders the most even wins.

    Args: targets [n_clips, n_labels] multi-hot; groups [n_clips], clips of one value stay together.
    Raises UserError when there are fewer groups than folds, which would leave a fold empty.
    """
    names, group_of = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) < n_folds:
        advice = f"set data.folds to {len(names)} or less" if len(names) > 1 else "folds need at least two groups"
        raise UserError(f"data.folds = {n_folds}, but the training clips are of {len(names)} group(s): {advice}")
    counts = _count_by_group(targets, group_of, len(names))
    generator = np.random.default_rng(seed)
    tries = [
        _assign_once(counts, n_folds, generator) for _ in range(max(1, min(MAX_ORDERS, MAX_GROUPS_TRIED // len(names))))
    ]
    return min(tries, key=lambda fold_of: _imbalance(counts, fold_of, n_folds))[group_of]


def _assign_once(counts: np.ndarray, n_folds: int, generator: np.random.Generator) -> np.ndarray:
    """The fold of each group, by one order of placing."""
    size = counts.max(axis=1) * generator.uniform(0.5, 1, len(counts))
    return _improve_by_moves(counts, _place(counts, _order(counts, size), n_folds), n_folds)


def _count_by_group(targets: np.ndarray, group_of: np.ndarray, n_groups: int) -> np.ndarray:
    """Labels of each group and its number of clips, float64 [n_groups, n_labels + 1], as shares of their totals."""
    counts = np.zeros((n_groups, targets.shape[1] + 1))
    np.add.at(counts, group_of, np.column_stack([targets, np.ones(len(targets))]))
    return counts / np.maximum(counts.sum(axis=0), 1)


def _order(counts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Groups in the order of placing: by their rarest label, then the largest first."""
    rarity = np.where(counts > 0, (counts > 0).sum(axis=0), len(counts) + 1).min(axis=1)
    return np.lexsort((-size, rarity))


def _place(counts: np.ndarray, order: np.ndarray, n_folds: int) -> np.ndarray:
    """The fold of each group: the one that overlaps it least, while groups enough are left to fill every fold."""
    loads = np.zeros((n_folds, counts.shape[1]))
    size = np.zeros(n_folds, dtype=np.int64)
    fold_of = np.empty(len(counts), dtype=np.int64)
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        overlap = loads @ counts[group]
        if left <= (size == 0).sum():
            overlap[size > 0] = np.inf
        fold = int(overlap.argmin())
        fold_of[group] = fold
        loads[fold] += counts[group]
        size[fold] += 1
    return fold_of


def _loads(counts: np.ndarray, fold_of: np.ndarray, n_folds: int) -> np.ndarray:
    """Shares of each label in each fold, float64 [n_folds, n_labels + 1]."""
    loads = np.zeros((n_folds, counts.shape[1]))
    np.add.at(loads, fold_of, counts)
    return loads


def _imbalance(counts: np.ndarray, fold_of: np.ndarray, n_folds: int) -> float:
    """What moves lower: the sum of squared loads."""
    return float((_loads(counts, fold_of, n_folds) ** 2).sum())


def _improve_by_moves(counts: np.ndarray, fold_of: np.ndarray, n_folds: int) -> np.ndarray:
    """Move single groups while that lowers the sum of squared loads, and empties no fold."""
    loads = _loads(counts, fold_of, n_folds)
    size = np.bincount(fold_of, minlength=n_folds)
    for _ in range(MAX_PASSES):
        moved = False
        for group, group_counts in enumerate(counts):
            here = fold_of[group]
            if size[here] == 1:
                continue
            gain = (loads[here] - group_counts - loads) @ group_counts
            gain[here] = 0
            there = int(gain.argmax())
            if gain[there] > 1e-12:
                loads[here] -= group_counts
                loads[there] += group_counts
                size[here] -= 1
                size[there] += 1
                fold_of[group], moved = there, True
        if not moved:
            break
    return fold_of
