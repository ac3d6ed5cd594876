"""Statistics of a dataset: what was measured of every recording, counted by label, fold and split."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from preprocess.audio.blocks import DecodeError
from preprocess.dataset.clip_table import TEST_FOLD
from preprocess.dataset.labels import to_multi_hot
from preprocess.dataset.loader import Dataset
from preprocess.statistics.measure import AudioStats

QUANTILES = {"least": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "most": 1.0}
DatasetStatistics = dict[str, Any]
"""Plain values, as in survey.json."""


def dataset_statistics(dataset: Dataset, measured: Sequence[AudioStats | DecodeError]) -> DatasetStatistics:
    """Everything a survey says, of a table of clips and what was measured of each, in the table's order."""
    table = dataset.table.reset_index(drop=True)
    stats_by_row = {row: one for row, one in enumerate(measured) if isinstance(one, AudioStats)}
    durations_s = np.array([stats_by_row[row].duration_s if row in stats_by_row else 0.0 for row in range(len(table))])
    known = table.loc[list(stats_by_row)]
    readable = list(stats_by_row.values())
    return {
        "clips": _by_subset(table, np.ones(len(table), dtype=int)),
        "hours": _by_subset(table, durations_s / 3600),
        "lengths_s": _quantiles([one.duration_s for one in readable]),
        "levels_db": _quantiles([one.rms_db for one in readable]),
        "rates_hz": _value_counts(one.sample_rate_hz for one in readable),
        "channels": _value_counts(one.n_channels for one in readable),
        "formats": _value_counts(one.format for one in readable),
        "silent_share": _weighted(readable, lambda one: one.silent_share),
        "clipped_share": _weighted(readable, lambda one: one.clipped_share),
        "labels": _labels(table, dataset.vocabulary, durations_s, set(stats_by_row)),
        "labels_per_clip": _value_counts(table["labels"].map(lambda joined: joined.count(";") + 1 if joined else 0)),
        "co_occurrence": _co_occurrence(table, dataset.vocabulary),
        "folds": _folds(table, durations_s),
        **_duplicates(known, [one.digest for one in readable]),
        "groups_in_train_and_test": _groups_across_splits(table),
        "unreadable": [
            {"clip": table["clip"][row], "reason": one.reason}
            for row, one in enumerate(measured)
            if isinstance(one, DecodeError)
        ],
        "warnings": dataset.warnings,
        "recordings": [{"clip": clip, **_measures(one)} for clip, one in zip(known["clip"], readable, strict=True)],
    }


def _measures(one: AudioStats) -> DatasetStatistics:
    return {
        "duration_s": round(one.duration_s, 6),
        "sample_rate_hz": one.sample_rate_hz,
        "channels": one.n_channels,
        "rms_db": round(one.rms_db, 2),
        "peak": round(one.peak, 6),
        "silent_share": round(one.silent_share, 6),
        "clipped_share": round(one.clipped_share, 8),
    }


def _by_subset(table: pd.DataFrame, amounts: np.ndarray) -> DatasetStatistics:
    """A sum over all clips, and over training clips of either label quality and test clips."""
    test, noisy = table["split"] == "test", table["label_quality"] == "noisy"
    parts = {"all": test | ~test, "curated": ~test & ~noisy, "noisy": ~test & noisy, "test": test}
    return {part: _rounded(amounts[rows.to_numpy()].sum()) for part, rows in parts.items()}


def _rounded(value: float) -> float:
    return round(float(value), 6) if isinstance(value, float | np.floating) else int(value)


def _quantiles(values: list[float]) -> DatasetStatistics:
    return {name: _rounded(np.quantile(values, share)) for name, share in QUANTILES.items()} if values else {}


def _value_counts(values: Iterable[Any]) -> dict[str, int]:
    """How often each value is there, the most frequent first."""
    return {str(value): times for value, times in Counter(values).most_common()}


def _weighted(readable: list[AudioStats], share: Callable[[AudioStats], float]) -> float:
    """The mean of a share, over seconds of sound."""
    total_s = sum(one.duration_s for one in readable)
    return _rounded(sum(share(one) * one.duration_s for one in readable) / total_s) if total_s else 0.0


def _labels(
    table: pd.DataFrame, vocabulary: list[str], durations_s: np.ndarray, readable_rows: set[int]
) -> list[DatasetStatistics]:
    """A row a label, in the vocabulary's order: clips by part, hours of clips that have it, and by fold the clips it is
    scored on, which are curated and can be read."""
    multi_hot = to_multi_hot(table["labels"], vocabulary).astype(int)
    hours = durations_s @ multi_hot / 3600
    scored = (table["label_quality"] == "curated") & table.index.isin(list(readable_rows))
    by_fold = {str(fold): multi_hot[scored & (table["fold"] == fold)].sum(axis=0) for fold in _fold_names(table)}
    return [
        {
            "label": label,
            "clips": _by_subset(table, multi_hot[:, column]),
            "hours": _rounded(hours[column]),
            "by_fold": {fold: int(counts[column]) for fold, counts in by_fold.items()},
        }
        for column, label in enumerate(vocabulary)
    ]


def _fold_names(table: pd.DataFrame) -> list[int]:
    return sorted(int(fold) for fold in set(table["fold"]) - {TEST_FOLD})


def _co_occurrence(table: pd.DataFrame, vocabulary: list[str]) -> list[list[int]]:
    """Clips that have both labels [n_labels, n_labels]; the diagonal is the clips of a label."""
    # float32 is exact up to 16 million clips, and whole numbers have no BLAS.
    multi_hot = to_multi_hot(table["labels"], vocabulary)
    return (multi_hot.T @ multi_hot).astype(int).tolist()


def _folds(table: pd.DataFrame, durations_s: np.ndarray) -> DatasetStatistics:
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


def _duplicates(known: pd.DataFrame, digests: list[str]) -> DatasetStatistics:
    """Sets of clips with the same samples; which of them cross folds or train and test; which differ in labels."""
    members = defaultdict(list)
    for row, digest in zip(known.index, digests, strict=True):
        if digest:
            members[digest].append(row)
    sets = [known.loc[rows] for rows in members.values() if len(rows) > 1]
    crossing = [same for same in sets if same["fold"].nunique() > 1]
    conflicting = [same for same in sets if same.loc[same["labels"] != "", "labels"].map(_as_set).nunique() > 1]
    return {
        "duplicates": [list(same["clip"]) for same in sets],
        "leaks": [{name: list(same[name]) for name in ("clip", "split", "fold")} for same in crossing],
        "conflicting_labels": [{name: list(same[name]) for name in ("clip", "labels")} for same in conflicting],
    }


def _as_set(joined: str) -> str:
    return ";".join(sorted(joined.split(";")))


def _groups_across_splits(table: pd.DataFrame) -> list[str]:
    """Groups with training and test clips."""
    splits = table.groupby("group")["split"].nunique()
    return sorted(splits.index[splits > 1])
