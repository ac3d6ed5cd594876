"""Which detections are judged: some of each label, by score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from predict.output.detections import TIME_RESOLUTION_S
from predict.output.submission import WINDOW_COLUMNS, iter_windows
from report.verdicts.clips_table import KEY_COLUMNS, with_scores

Choice = Literal["top", "random", "spread"]


def read_detections(path: Path, labels: Sequence[str], min_score: float, known: pd.DataFrame) -> pd.DataFrame:
    """Windows [recording, window_start_s, window_end_s, label, score] from `min_score` on, and those of `known` clips.

    Where one of these scores less, windows from its score on: a threshold weighs all detections from the lowest judged
    one on. The table at `path` is read in parts: only these are kept. Raises UserError.
    """
    parts = []
    known_recordings, known_starts = set(known["recording"]), set(known["window_start_s"])
    for part in iter_windows(path, labels):
        part[["start_s", "end_s"]] = part[["start_s", "end_s"]].round(3)
        is_known = part["clip"].isin(known_recordings) & part["start_s"].isin(known_starts)
        parts.append(part.loc[(part["score"] >= min_score) | is_known, WINDOW_COLUMNS])
    names = {"clip": "recording", "start_s": "window_start_s", "end_s": "window_end_s"}
    found = pd.concat(parts, ignore_index=True).rename(columns=names).drop_duplicates(KEY_COLUMNS)
    lowest = with_scores(known, found)["score"].min()
    return read_detections(path, labels, lowest, known) if lowest < min_score else found


def choose_detections(
    detections: pd.DataFrame, how: Choice, n_clips: int, seed: int, known: pd.DataFrame
) -> pd.DataFrame:
    """At most `n_clips` rows of each label, which overlap neither each other nor others of `known`.

    `top` are those of the highest scores; `random` ones are drawn; `spread` draws from `n_clips` equal ranges between
    the label's lowest and highest score in turn, so that each range of scores is judged as often. Equal seeds
    choose equal rows.
    """
    chosen = []
    for label, group in sorted(detections.groupby("label"), key=lambda item: str(item[0])):
        random = np.random.default_rng(seed)
        shuffled = group.sort_values(KEY_COLUMNS).iloc[random.permutation(len(group))]
        if how == "top":
            shuffled = shuffled.sort_values("score", ascending=False, kind="stable")
        elif how == "spread":
            low, high = shuffled["score"].min(), shuffled["score"].max()
            place = ((shuffled["score"] - low) / max(high - low, 1e-12) * n_clips).astype(int).clip(upper=n_clips - 1)
            turn = place.groupby(place).cumcount()
            range_order = place.map(dict(enumerate(random.permutation(n_clips).tolist())))
            shuffled = shuffled.iloc[np.lexsort((range_order, turn))]
        chosen.append(_without_overlaps(shuffled, n_clips, known[known["label"] == label]))
    return pd.concat(chosen, ignore_index=True) if chosen else detections.iloc[:0]


def _without_overlaps(ordered: pd.DataFrame, most: int, known: pd.DataFrame) -> pd.DataFrame:
    """The first `most` windows of one label of which none lies over another, or over another of `known`."""
    kept: list[int] = []
    spans: dict[str, list[tuple[float, float]]] = {}
    for recording, start_s, end_s in known[KEY_COLUMNS[:3]].itertuples(index=False, name=None):
        spans.setdefault(recording, []).append((start_s, end_s))
    for row, (recording, start_s, end_s) in enumerate(ordered[KEY_COLUMNS[:3]].itertuples(index=False, name=None)):
        of_recording = spans.setdefault(recording, [])
        is_known = (start_s, end_s) in of_recording
        if is_known or all(end_s <= start or start_s >= end for start, end in of_recording):
            of_recording.append((start_s, end_s))
            kept.append(row)
        if len(kept) == most:
            break
    return ordered.iloc[kept]


def find_other_labels(clips: pd.DataFrame, detections: pd.DataFrame, thresholds: dict[str, float]) -> list[list[str]]:
    """For each of `clips`, the other labels that score from their threshold on in its window, or in one within it."""
    decided = detections[detections["score"] >= detections["label"].map(thresholds).astype("float64")]
    by_recording, found = dict(iter(decided.groupby("recording"))), list[list[str]]()
    first_s = clips[["start_s", "window_start_s"]].min(axis=1) - TIME_RESOLUTION_S
    last_s = clips[["end_s", "window_end_s"]].max(axis=1) + TIME_RESOLUTION_S
    for recording, label, first, last in zip(clips["recording"], clips["label"], first_s, last_s, strict=True):
        windows = by_recording.get(recording, decided.iloc[:0])
        is_inside = (windows["window_start_s"] >= first) & (windows["window_end_s"] <= last)
        found.append([other for other in windows.loc[is_inside, "label"].unique() if other != label])
    return found
