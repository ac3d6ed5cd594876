"""Statistics of a dataset: the measures of every recording, counted by label, fold and split."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.errors import UserError
from preprocess.audio.blocks import DecodeError
from preprocess.dataset.clip_table import CHOICES, TEST_FOLD
from preprocess.dataset.labels import split_labels, to_multi_hot
from preprocess.dataset.loader import Dataset
from preprocess.statistics.measure import AudioStats

SUBSETS = (*CHOICES["label_quality"], "test")
"""Training clips by label quality, and test clips."""
QUANTILES = {"least": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "most": 1.0}
MEASURES = ["duration_s", "sample_rate_hz", "channels", "rms_db", "peak", "silent_share", "clipped_share"]
DECIMALS = {"duration_s": 6, "rms_db": 2, "peak": 6, "silent_share": 6, "clipped_share": 8}
DatasetStatistics = dict[str, Any]
"""Plain values, as in survey.json."""


def dataset_statistics(dataset: Dataset, measured: Sequence[AudioStats | DecodeError]) -> DatasetStatistics:
    """All content of a survey, from a table of clips and the measures of each, in the table's order."""
    table = dataset.table.reset_index(drop=True)
    readable = {row: asdict(one) for row, one in enumerate(measured) if isinstance(one, AudioStats)}
    audio = pd.DataFrame(list(readable.values()), list(readable), [field.name for field in fields(AudioStats)])
    audio = audio.rename(columns={"n_channels": "channels"}).join(table)
    table["hours"] = audio["duration_s"].reindex(table.index, fill_value=0.0).astype(float) / 3600
    table["scored"] = (table["label_quality"] == "curated") & table.index.isin(audio.index)
    multi_hot = to_multi_hot(table["labels"], dataset.vocabulary)
    n_splits = table.groupby("group")["split"].nunique()
    return {
        "clips": _by_subset(table, np.ones(len(table), dtype=int)),
        "hours": _by_subset(table, table["hours"].to_numpy()),
        "lengths_s": _quantiles(audio["duration_s"]),
        "levels_db": _quantiles(audio["rms_db"]),
        "rates_hz": _value_counts(audio["sample_rate_hz"]),
        "channels": _value_counts(audio["channels"]),
        "formats": _value_counts(audio["format"]),
        "silent_share": _share_of_time(audio, "silent_share"),
        "clipped_share": _share_of_time(audio, "clipped_share"),
        "labels": _labels(table, dataset.vocabulary, multi_hot.astype(int)),
        "labels_per_clip": _value_counts(multi_hot.sum(axis=1, dtype=int)),
        "co_occurrence": (multi_hot.T @ multi_hot).astype(int).tolist(),
        "folds": _folds(table),
        **_duplicates(audio),
        "groups_in_train_and_test": sorted(n_splits.index[n_splits > 1]),
        "unreadable": [
            {"clip": clip, "reason": one.reason}
            for clip, one in zip(table["clip"], measured, strict=True)
            if isinstance(one, DecodeError)
        ],
        "warnings": dataset.warnings,
        "notes": dataset.notes,
        "recordings": audio[["clip", *MEASURES, "warning"]].round(DECIMALS).to_dict("records"),
    }


def read_statistics(path: Path, dataset: Dataset) -> DatasetStatistics:
    """What `make survey` wrote of a dataset. Raises UserError where it is missing, damaged, or of other clips."""
    try:
        stats: DatasetStatistics = json.loads(path.read_text(encoding="utf-8"))
        clips = {one["clip"] for one in [*stats["recordings"], *stats["unreadable"]]}
        labels = [label["label"] for label in stats["labels"]]
    except FileNotFoundError:
        raise UserError(f"{path}: there are no statistics; run make survey first") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: it is damaged; run make survey again") from None
    if clips != set(dataset.table["clip"]) or labels != dataset.vocabulary:
        raise UserError(f"{path}: it is of other clips or labels than {dataset.folder} has; run make survey again")
    return stats


def _by_subset(table: pd.DataFrame, amounts: np.ndarray) -> dict[str, float]:
    """A sum over all clips, over training clips of each label quality, and over test clips."""
    test = table["split"] == "test"
    by_quality = {quality: ~test & (table["label_quality"] == quality) for quality in CHOICES["label_quality"]}
    subsets = {"all": test | ~test, **by_quality, "test": test}
    return {name: round(amounts[rows.to_numpy()].sum().item(), 6) for name, rows in subsets.items()}


def _quantiles(values: pd.Series) -> dict[str, float]:
    return {name: round(float(values.quantile(share)), 6) for name, share in QUANTILES.items()} if len(values) else {}


def _value_counts(values: Iterable[Any]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return {str(value): times for value, times in Counter(values).most_common()}


def _share_of_time(audio: pd.DataFrame, column: str) -> float:
    """The mean of a share, weighted by duration."""
    total_s = audio["duration_s"].sum()
    return round(float((audio[column] * audio["duration_s"]).sum() / total_s), 6) if total_s else 0.0


def _labels(table: pd.DataFrame, vocabulary: list[str], multi_hot: np.ndarray) -> list[DatasetStatistics]:
    """A row a label, in the vocabulary's order: clips by subset, hours of clips that have it, scored clips by fold."""
    folds = sorted(set(table["fold"]) - {TEST_FOLD})
    by_fold = {str(fold): multi_hot[table["scored"] & (table["fold"] == fold)].sum(axis=0) for fold in folds}
    return [
        {
            "label": label,
            "clips": _by_subset(table, multi_hot[:, column]),
            "hours": round(float(table["hours"] @ multi_hot[:, column]), 6),
            "by_fold": {fold: int(counts[column]) for fold, counts in by_fold.items()},
        }
        for column, label in enumerate(vocabulary)
    ]


def _folds(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Clips, groups and hours of each fold."""
    return {
        str(fold): {"clips": len(clips), "groups": clips["group"].nunique(), "hours": round(clips["hours"].sum(), 6)}
        for fold, clips in table[table["fold"] != TEST_FOLD].groupby("fold")
    }


def _duplicates(audio: pd.DataFrame) -> DatasetStatistics:
    """Sets of clips with the same samples; which of them cross folds or train and test; which differ in labels."""
    repeated = audio[(audio["digest"] != "") & audio["digest"].duplicated(keep=False)]
    sets = [same for _, same in repeated.groupby("digest", sort=False)]
    crossing = [same for same in sets if same["fold"].nunique() > 1]
    conflicting = [
        same for same in sets if len({frozenset(split_labels(labels)) for labels in same["labels"] if labels}) > 1
    ]
    return {
        "duplicates": [same["clip"].tolist() for same in sets],
        "leaks": [same[["clip", "split", "fold"]].to_dict("list") for same in crossing],
        "conflicting_labels": [same[["clip", "labels"]].to_dict("list") for same in conflicting],
    }
