"""Metrics of events: labels with a beginning and an end, found where the truth has them.

Definitions: Mesaros, Heittola and Virtanen, Metrics for Polyphonic Sound Event Detection (2016), and their sed_eval.
Tables of events have a row an event and the columns fname, start_s, end_s, label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

ONSET_COLLAR_S = OFFSET_COLLAR_S = 0.2
"""How far from the true one a found event may begin, and end."""
OFFSET_SHARE = 0.2
"""It may also end so far from the true one: a share of the true event's length."""
SEGMENT_S = 1.0
RESOLUTION_S = 1e-3
"""Of the times of windows in tables; what is shorter counts for nothing."""
ROUNDING_S = 1e-6
"""Times are read from texts: what differs by less is equal."""


@dataclass(frozen=True)
class EventScores:
    """How many events, or segments with a label, are true, found, and both."""

    counts: pd.DataFrame
    """int64; a row a label and the columns true, found, hits."""
    n_substituted: int
    """Found ones where the truth has another label."""
    n_missed: int
    """True ones that were neither found nor substituted."""
    n_inserted: int
    """Found ones that are neither true nor a substitution."""

    @property
    def f1_per_label(self) -> pd.Series:
        """F1 of each label; NaN where it is neither true nor found, 0 where it is one of both.

        sed_eval has no F1 of labels of which nothing is found, and its macro F1 leaves them out.
        """
        n = self.counts["true"] + self.counts["found"]
        return 2 * self.counts["hits"] / n.where(n > 0)

    @property
    def f1_macro(self) -> float:
        """F1 averaged over the labels where it is defined."""
        return float(self.f1_per_label.mean())

    @property
    def f1_micro(self) -> float:
        """F1 of all labels together; NaN where nothing is true and nothing is found."""
        n_true, n_found, n_hits = self.counts.sum()
        return float(2 * n_hits / (n_true + n_found)) if n_true + n_found else np.nan

    @property
    def error_rate(self) -> float:
        """Substituted, missed and inserted ones, divided by the true ones; NaN where nothing is true."""
        n_true = int(self.counts["true"].sum())
        return (self.n_substituted + self.n_missed + self.n_inserted) / n_true if n_true else np.nan


def score_events(truth: pd.DataFrame, found: pd.DataFrame, labels: Sequence[str]) -> EventScores:
    """Event-based metrics: an event is found by one of its label that begins and ends close to it.

    Each finds one at most, and as many as possible are found. Of the others, those that lie close to one of another
    label are substitutions. Events of no label of `labels` are left out.
    """
    truth, found = (events[events["label"].isin(labels)].reset_index(drop=True) for events in (truth, found))
    is_hit, is_right = _pair(truth, found, ["fname", "label"])
    missed, extra = truth[~is_hit], found[~is_right]
    n_substituted = int(_pair(missed, extra, ["fname"])[0].sum())
    counts = _count(labels, truth, found, truth[is_hit])
    return EventScores(counts, n_substituted, len(missed) - n_substituted, len(extra) - n_substituted)


def score_segments(truth: pd.DataFrame, found: pd.DataFrame, labels: Sequence[str]) -> EventScores:
    """Segment-based metrics: each second of a recording has the labels of the events that touch it.

    Events of no label of `labels` are left out.
    """
    true_segments, found_segments = (_to_segments(events[events["label"].isin(labels)]) for events in (truth, found))
    hits = true_segments.merge(found_segments)
    sizes = {"true": true_segments, "found": found_segments, "hits": hits}
    n_labels = pd.DataFrame({name: rows.groupby(["fname", "segment"]).size() for name, rows in sizes.items()})
    n_true, n_found, n_hits = (n_labels[name].fillna(0) for name in sizes)
    return EventScores(
        counts=_count(labels, true_segments, found_segments, hits),
        n_substituted=int((np.minimum(n_true, n_found) - n_hits).sum()),
        n_missed=int((n_true - n_found).clip(lower=0).sum()),
        n_inserted=int((n_found - n_true).clip(lower=0).sum()),
    )


def label_windows(
    events: pd.DataFrame, start_s: np.ndarray, end_s: np.ndarray, labels: Sequence[str], min_overlap_s: float
) -> np.ndarray:
    """The labels of a recording's windows by its own `events`: 0 or 1, float32 [n_windows, n_labels].

    A window has the label of an event of which it holds `min_overlap_s`, or all of a shorter one, and of one that fills
    the window. Windows from `start_s` to `end_s` [n_windows] come in order of time.
    """
    truth, columns = np.zeros((len(start_s), len(labels)), np.float32), {label: at for at, label in enumerate(labels)}
    known = events[events["label"].isin(columns)]
    for label, begin_s, finish_s in zip(known["label"], known["start_s"], known["end_s"], strict=True):
        finish_s = max(finish_s, begin_s + RESOLUTION_S)
        first, last = np.searchsorted(end_s, begin_s, "left"), np.searchsorted(start_s, finish_s, "right")
        starts, ends = start_s[first:last], end_s[first:last]
        overlap_s = np.minimum(ends, finish_s) - np.maximum(starts, begin_s)
        required_s = np.minimum(ends - starts, min(finish_s - begin_s, min_overlap_s)) - RESOLUTION_S
        truth[first:last, columns[label]] += (overlap_s >= required_s) & (overlap_s > ROUNDING_S)
    return truth.clip(max=1)


def _count(labels: Sequence[str], true: pd.DataFrame, found: pd.DataFrame, hits: pd.DataFrame) -> pd.DataFrame:
    tables = {"true": true, "found": found, "hits": hits}
    counts = {name: rows["label"].value_counts().reindex(list(labels), fill_value=0) for name, rows in tables.items()}
    return pd.DataFrame(counts).rename_axis("label")


def _to_segments(events: pd.DataFrame) -> pd.DataFrame:
    """The columns fname, segment, label; a row a segment of SEGMENT_S and label that an event touches, none twice."""
    first = np.floor((events["start_s"] + RESOLUTION_S) / SEGMENT_S).astype("int64")
    end = np.ceil((events["end_s"] - RESOLUTION_S) / SEGMENT_S).astype("int64")
    lengths = np.maximum(end - first, 1).to_numpy()
    rows = events[["fname", "label"]].iloc[np.repeat(np.arange(len(events)), lengths)]
    within = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return rows.assign(segment=np.repeat(first.to_numpy(), lengths) + within).drop_duplicates(ignore_index=True)


def _pair(truth: pd.DataFrame, found: pd.DataFrame, same: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of `truth` and of `found` are paired, boolean, in as many pairs as possible.

    A pair has equal values in the columns `same`, and lies within the collars.
    """
    is_true_paired, is_found_paired = np.zeros(len(truth), bool), np.zeros(len(found), bool)
    groups = found.groupby(same, sort=False).indices
    for key, true_rows in truth.groupby(same, sort=False).indices.items():
        if key not in groups:
            continue
        found_rows = groups[key]
        partners = maximum_bipartite_matching(_candidates(truth.iloc[true_rows], found.iloc[found_rows]), "column")
        is_true_paired[true_rows[partners >= 0]] = True
        is_found_paired[found_rows[partners[partners >= 0]]] = True
    return is_true_paired, is_found_paired


def _candidates(truth: pd.DataFrame, found: pd.DataFrame) -> csr_array:
    """Which found events lie within the collars of true ones: sparse [n_true, n_found]."""
    start_s, end_s = truth["start_s"].to_numpy(), truth["end_s"].to_numpy()
    order = np.argsort(found["start_s"].to_numpy(), kind="stable")
    starts, ends = found["start_s"].to_numpy()[order], found["end_s"].to_numpy()[order]
    collar_s = np.maximum(OFFSET_COLLAR_S, OFFSET_SHARE * (end_s - start_s)) + ROUNDING_S
    first = np.searchsorted(starts, start_s - ONSET_COLLAR_S - ROUNDING_S, "left")
    last = np.searchsorted(starts, start_s + ONSET_COLLAR_S + ROUNDING_S, "right")
    near = [
        start + np.flatnonzero(abs(ends[start:stop] - end) <= collar)
        for start, stop, end, collar in zip(first, last, end_s, collar_s, strict=True)
    ]
    columns = order[np.concatenate(near)] if near else np.empty(0, np.int64)
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in near])])
    return csr_array((np.ones(len(columns), bool), columns, indptr), shape=(len(truth), len(found)))
