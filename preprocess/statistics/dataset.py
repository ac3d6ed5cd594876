"""Taking stock of a dataset: what was measured of every recording, counted by label, fold and split."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from preprocess.dataset.clip_table import TEST_FOLD
from preprocess.dataset.labels import encode
from preprocess.dataset.loader import Layout
from preprocess.statistics.measure import Heard, Unheard

QUANTILES = {"least": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "most": 1.0}
Stock = dict[str, Any]
"""Plain values, as in survey.json."""


def take_stock(layout: Layout, measured: Sequence[Heard | Unheard]) -> Stock:
    """Everything a survey says, of a table of clips and what was measured of each, in the table's order."""
    table = layout.table.reset_index(drop=True)
    heard = {row: one for row, one in enumerate(measured) if isinstance(one, Heard)}
    durations_s = np.array([heard[row].duration_s if row in heard else 0.0 for row in range(len(table))])
    known = table.loc[list(heard)]
    sound = list(heard.values())
    return {
        "clips": _by_part(table, np.ones(len(table), dtype=int)),
        "hours": _by_part(table, durations_s / 3600),
        "lengths_s": _quantiles([one.duration_s for one in sound]),
        "levels_db": _quantiles([one.level_db for one in sound]),
        "rates_hz": _times(one.rate_hz for one in sound),
        "channels": _times(one.n_channels for one in sound),
        "formats": _times(one.format for one in sound),
        "silent_share": _weighted(sound, lambda one: one.silent_share),
        "clipped_share": _weighted(sound, lambda one: one.clipped_share),
        "labels": _labels(table, layout.vocabulary, durations_s, set(heard)),
        "labels_per_clip": _times(table["labels"].map(lambda joined: joined.count(";") + 1 if joined else 0)),
        "co_occurrence": _co_occurrence(table, layout.vocabulary),
        "folds": _folds(table, durations_s),
        **_same_sound(known, [one.digest for one in sound]),
        "groups_in_train_and_test": _groups_in_both(table),
        "unreadable": [
            {"clip": table["clip"][row], "reason": one.reason}
            for row, one in enumerate(measured)
            if isinstance(one, Unheard)
        ],
        "notes": layout.notes,
        "recordings": [{"clip": clip, **_measures(one)} for clip, one in zip(known["clip"], sound, strict=True)],
    }


def _measures(one: Heard) -> Stock:
    return {
        "duration_s": round(one.duration_s, 6),
        "rate_hz": one.rate_hz,
        "channels": one.n_channels,
        "level_db": round(one.level_db, 2),
        "peak": round(one.peak, 6),
        "silent_share": round(one.silent_share, 6),
        "clipped_share": round(one.clipped_share, 8),
    }


def _by_part(table: pd.DataFrame, amounts: np.ndarray) -> Stock:
    """A sum over all clips, and over training clips of either trust and test clips."""
    test, noisy = table["split"] == "test", table["trust"] == "noisy"
    parts = {"all": test | ~test, "curated": ~test & ~noisy, "noisy": ~test & noisy, "test": test}
    return {part: _rounded(amounts[rows.to_numpy()].sum()) for part, rows in parts.items()}


def _rounded(value: float) -> float:
    return round(float(value), 6) if isinstance(value, float | np.floating) else int(value)


def _quantiles(values: list[float]) -> Stock:
    return {name: _rounded(np.quantile(values, share)) for name, share in QUANTILES.items()} if values else {}


def _times(values: Iterable[Any]) -> dict[str, int]:
    """How often each value is there, the most frequent first."""
    return {str(value): times for value, times in Counter(values).most_common()}


def _weighted(sound: list[Heard], share: Callable[[Heard], float]) -> float:
    """The mean of a share, over seconds of sound."""
    total_s = sum(one.duration_s for one in sound)
    return _rounded(sum(share(one) * one.duration_s for one in sound) / total_s) if total_s else 0.0


def _labels(table: pd.DataFrame, vocabulary: list[str], durations_s: np.ndarray, heard: set[int]) -> list[Stock]:
    """A row a label, in the vocabulary's order: clips by part, hours of clips that have it, and by fold the clips it is
    scored on, which are curated and can be read."""
    hot = encode(table["labels"], vocabulary).astype(int)
    hours = durations_s @ hot / 3600
    scored = (table["trust"] == "curated") & table.index.isin(list(heard))
    by_fold = {str(fold): hot[scored & (table["fold"] == fold)].sum(axis=0) for fold in _fold_names(table)}
    return [
        {
            "label": label,
            "clips": _by_part(table, hot[:, column]),
            "hours": _rounded(hours[column]),
            "by_fold": {fold: int(counts[column]) for fold, counts in by_fold.items()},
        }
        for column, label in enumerate(vocabulary)
    ]


def _fold_names(table: pd.DataFrame) -> list[int]:
    return sorted(int(fold) for fold in set(table["fold"]) - {TEST_FOLD})


def _co_occurrence(table: pd.DataFrame, vocabulary: list[str]) -> list[list[int]]:
    """Clips that have both labels [n_labels, n_labels]; the diagonal is the clips of a label."""
    hot = encode(table["labels"], vocabulary)  # float32 is exact up to 16 million clips, and whole numbers have no BLAS
    return (hot.T @ hot).astype(int).tolist()


def _folds(table: pd.DataFrame, durations_s: np.ndarray) -> Stock:
    """Clips, groups and hours of each fold."""
    rows = {fold: (table["fold"] == fold).to_numpy() for fold in _fold_names(table)}
    return {
        str(fold): {
            "clips": int(inside.sum()),
            "groups": int(table["group"][inside].nunique()),
            "hours": _rounded(durations_s[inside].sum() / 3600),
        }
        for fold, inside in rows.items()
    }


def _same_sound(known: pd.DataFrame, digests: list[str]) -> Stock:
    """Sets of clips with the same samples; which of them cross folds or train and test; which differ in labels."""
    members = defaultdict(list)
    for row, digest in zip(known.index, digests, strict=True):
        if digest:
            members[digest].append(row)
    sets = [known.loc[rows] for rows in members.values() if len(rows) > 1]
    crossing = [same for same in sets if same["fold"].nunique() > 1]
    at_odds = [same for same in sets if same.loc[same["labels"] != "", "labels"].map(_as_set).nunique() > 1]
    return {
        "duplicates": [list(same["clip"]) for same in sets],
        "leaks": [{name: list(same[name]) for name in ("clip", "split", "fold")} for same in crossing],
        "labels_at_odds": [{name: list(same[name]) for name in ("clip", "labels")} for same in at_odds],
    }


def _as_set(joined: str) -> str:
    return ";".join(sorted(joined.split(";")))


def _groups_in_both(table: pd.DataFrame) -> list[str]:
    """Groups with training and test clips."""
    splits = table.groupby("group")["split"].nunique()
    return sorted(splits.index[splits > 1])
