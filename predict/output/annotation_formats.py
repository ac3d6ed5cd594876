"""Detections in the formats that other programs open: Audacity, Raven, JSON and Parquet."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, astuple
from pathlib import Path, PurePosixPath

import pandas as pd

from core.files import atomic_write
from predict.output.detections import Detection
from predict.output.submission import TIME_COLUMNS, WINDOW_COLUMNS
from train.evaluate.score_table import ScoreTable

CLIP_FILE_SUFFIXES = {"audacity": ".txt", "raven": ".selections.txt"}
"""Of a clip's own file, by format; the other formats have one file for all clips."""
MAX_NAME_BYTES = 200
"""Bytes of a clip's name in a file's, which has 255 in all, while it is written and afterwards."""
RAVEN_COLUMNS = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]

Detections = Mapping[str, list[Detection]]
"""By clip; an empty list where nothing was found."""


def write_audacity(folder: Path, detections: Detections, scores: ScoreTable, fmax_hz: float) -> None:
    """A label track a clip, for File > Import > Labels: start, end, and the label with its score."""
    for clip, found in detections.items():
        lines = [f"{one.start_s:.6f}\t{one.end_s:.6f}\t{_cell(one.label)} {one.score:.3f}\n" for one in found]
        _write(folder / _file_name(clip, CLIP_FILE_SUFFIXES["audacity"]), "".join(lines))


def write_raven(folder: Path, detections: Detections, scores: ScoreTable, fmax_hz: float) -> None:
    """A selection table a clip, for File > Open Selection Table; selections are as high as the features reach."""
    for clip, found in detections.items():
        lines = ["\t".join([*RAVEN_COLUMNS, "Label", "Score"]) + "\n"]
        for number, one in enumerate(found, start=1):
            place = f"{number}\tSpectrogram 1\t1\t{one.start_s:.6f}\t{one.end_s:.6f}\t0.0\t{fmax_hz:.1f}"
            lines.append(f"{place}\t{_cell(one.label)}\t{one.score:.4f}\n")
        _write(folder / _file_name(clip, CLIP_FILE_SUFFIXES["raven"]), "".join(lines))


def write_json(path: Path, detections: Detections, scores: ScoreTable, fmax_hz: float) -> None:
    """One object a clip: its scores by label, and its detections."""
    rows, absent = dict(zip(scores.clips, scores.values.tolist(), strict=True)), _absent_columns(detections)
    clips = [
        {
            "clip": clip,
            "scores": dict(zip(scores.labels, (round(value, 6) for value in rows[clip]), strict=True)),
            "detections": [
                {key: value for key, value in asdict(one.rounded()).items() if key not in absent} for one in found
            ],
        }
        for clip, found in detections.items()
    ]
    _write(path, json.dumps({"labels": scores.labels, "clips": clips}, ensure_ascii=False, indent=1) + "\n")


def write_parquet(path: Path, detections: Detections, scores: ScoreTable, fmax_hz: float) -> None:
    """The detections of all clips as one table, the columns of the window table."""
    rows = [(clip, *astuple(one.rounded())) for clip, found in detections.items() for one in found]
    types = {"clip": "str", "start_s": "float64", "end_s": "float64", "label": "str", "score": "float32"}
    table = pd.DataFrame(rows, columns=[*WINDOW_COLUMNS, *TIME_COLUMNS]).astype(types)
    with atomic_write(path) as temporary:
        table.drop(columns=_absent_columns(detections)).to_parquet(temporary, index=False)


FORMATS: dict[str, tuple[str, Callable[[Path, Detections, ScoreTable, float], None]]] = {
    "audacity": ("audacity", write_audacity),
    "raven": ("raven", write_raven),
    "json": ("detections.json", write_json),
    "parquet": ("detections.parquet", write_parquet),
}
"""The name of each format's file or folder beside a submission, and the function that writes it."""


def stale_exports(name: str, path: Path, clips: Collection[str]) -> list[Path]:
    """Files of a format at `path` but for those of `clips`: an earlier prediction wrote them."""
    if name not in CLIP_FILE_SUFFIXES:
        return [path] if path.exists() and not clips else []
    written = {path / _file_name(clip, CLIP_FILE_SUFFIXES[name]) for clip in clips}
    return sorted(set(path.rglob(f"*{CLIP_FILE_SUFFIXES[name]}")) - written)


def _absent_columns(detections: Detections) -> list[str]:
    """TIME_COLUMNS where it is not known of any recording when it began."""
    is_known = any(one.start_time for found in detections.values() for one in found)
    return [] if is_known else TIME_COLUMNS


def _cell(text: str) -> str:
    """Text that stays within its cell of a table with tabs."""
    return " ".join(text.split())


def _file_name(clip: str, suffix: str) -> Path:
    """Where a clip's file goes below its folder; one whose name leads out of it stays inside, marked as its own."""
    parts = PurePosixPath(clip).parts
    *folders, name = [part for part in parts if part not in ("/", "..")] or ["clip"]
    if len(os.fsencode(name)) > MAX_NAME_BYTES or (*folders, name) != parts:
        short = os.fsencode(name)[: MAX_NAME_BYTES - 9].decode("utf-8", "ignore")
        name = f"{short}~{hashlib.sha256(os.fsencode(clip)).hexdigest()[:8]}"
    return Path(*folders, name + suffix)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
