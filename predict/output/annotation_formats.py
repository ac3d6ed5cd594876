"""Detections in the formats that other programs open: Audacity, Raven, Kaleidoscope, DCASE, JSON and Parquet."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from core.csv_tables import write_table
from core.files import atomic_write
from predict.output.detections import Detection
from predict.output.submission import TIME_COLUMNS, WINDOW_COLUMNS
from recipe import Features
from recipe.features import CHROMA_OCTAVES
from train.evaluate.score_table import ScoreTable

CLIP_FILE_SUFFIXES = {"audacity": ".txt", "raven": ".selections.txt"}
"""Of a clip's own file, by format; the other formats have one file for all clips."""
MAX_NAME_BYTES = 200
"""Bytes of a clip's name in a file's, which has 255 in all, while it is written and afterwards."""
RAVEN_COLUMNS = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"]
KALEIDOSCOPE_COLUMNS = ["INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "TOP1MATCH", "TOP1DIST", "MANUAL ID"]
"""Of Kaleidoscope Pro's cluster.csv, those by which it finds a sound, names it, and takes a person's name for it.

Source: github.com/birdnet-team/BirdNET-Analyzer/pull/856; Kaleidoscope does not show columns of other names.
"""
DCASE_COLUMNS = ["filename", "onset", "offset", "event_label"]
"""Of strong labels in DCASE's tasks of sound event detection (DESED)."""


@dataclass(frozen=True)
class Exported:
    """What the formats are made of."""

    detections: Mapping[str, list[Detection]]
    """By clip; an empty list where nothing was found."""
    scores: ScoreTable
    recordings: Mapping[str, Path]
    """Where the recording of each clip lies."""
    durations_s: Mapping[str, float]
    """Of each clip's recording."""
    fmax_hz: float
    """How high the features reach."""
    audacity_scores: bool = True
    """Audacity: the score stands behind each label."""

    def rows(self) -> Iterator[tuple[str, Detection]]:
        """Every detection with its clip."""
        return ((clip, one) for clip, found in self.detections.items() for one in found)


def write_audacity(folder: Path, exported: Exported) -> None:
    """A label track a clip, for File > Import > Labels: start, end, and the label, with its score or without."""
    for clip, found in exported.detections.items():
        lines = []
        for one in found:
            score = f" {one.score:.3f}" if exported.audacity_scores else ""
            lines.append(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{_cell(one.label)}{score}\n")
        _write(folder / _file_name(clip, CLIP_FILE_SUFFIXES["audacity"]), "".join(lines))


def write_raven(folder: Path, exported: Exported) -> None:
    """A selection table a clip, for File > Open Selection Table; selections are as high as the features reach."""
    for clip, found in exported.detections.items():
        lines = ["\t".join([*RAVEN_COLUMNS, "Label", "Score"]) + "\n"]
        lines += [_selection(number, one, exported.fmax_hz) + "\n" for number, one in enumerate(found, start=1)]
        _write(folder / _file_name(clip, CLIP_FILE_SUFFIXES["raven"]), "".join(lines))


def write_raven_merged(path: Path, exported: Exported) -> None:
    """One selection table of all recordings, and the list of them with which Raven opens them as one sound.

    Times are those of that sound, in which each recording follows the one before; `Begin Path` and `File Offset (s)`
    say where in its own recording a selection begins.
    """
    lines = ["\t".join([*RAVEN_COLUMNS, "Label", "Score", "Begin Path", "File Offset (s)"]) + "\n"]
    offset_s = 0.0
    for clip, found in exported.detections.items():
        recording = _cell(_absolute(exported.recordings[clip]))
        for one in found:
            selection = _selection(len(lines), one, exported.fmax_hz, offset_s)
            lines.append(f"{selection}\t{recording}\t{one.start_s:.6f}\n")
        offset_s += exported.durations_s[clip]
    _write(path, "".join(lines))
    files = [_cell(_absolute(exported.recordings[clip])) + "\n" for clip in exported.detections]
    _write(path.with_name(RAVEN_FILE_LIST), "".join(files))


def write_kaleidoscope(path: Path, exported: Exported) -> None:
    """A table for Kaleidoscope Pro's File > Open Results; TOP1DIST has the score, as BirdNET-Analyzer writes it."""
    rows = []
    for clip, one in exported.rows():
        folder, _, name = _absolute(exported.recordings[clip]).rpartition("/")
        inner, slash, _ = clip.rpartition("/")
        is_below = slash and folder.endswith("/" + inner)
        root, below = (folder.removesuffix("/" + inner), inner) if is_below else (folder, "")
        start_s, end_s = round(one.start_s, 6), round(one.end_s, 6)
        times = f"{start_s:.6f}", f"{end_s - start_s:.6f}"
        rows.append([root, below, name, *times, one.label, f"{one.score:.4f}", ""])
    write_table(path, KALEIDOSCOPE_COLUMNS, rows)


def write_dcase(path: Path, exported: Exported) -> None:
    """The table of strong labels of DCASE's tasks of sound event detection, fields parted by tabs."""
    lines = ["\t".join(DCASE_COLUMNS) + "\n"]
    for clip, one in exported.rows():
        lines.append(f"{_cell(clip)}\t{one.start_s:.6f}\t{one.end_s:.6f}\t{_cell(one.label)}\n")
    _write(path, "".join(lines))


def write_json(path: Path, exported: Exported) -> None:
    """One object a clip: its scores by label, and its detections."""
    scores, absent = exported.scores, _absent_columns(exported)
    rows = dict(zip(scores.clips, scores.values.tolist(), strict=True))
    clips = [
        {
            "clip": clip,
            "scores": dict(zip(scores.labels, (round(value, 6) for value in rows[clip]), strict=True)),
            "detections": [
                {key: value for key, value in asdict(one.rounded()).items() if key not in absent} for one in found
            ],
        }
        for clip, found in exported.detections.items()
    ]
    _write(path, json.dumps({"labels": scores.labels, "clips": clips}, ensure_ascii=False, indent=1) + "\n")


def write_parquet(path: Path, exported: Exported) -> None:
    """The detections of all clips as one table, the columns of the window table."""
    rows = [(clip, *astuple(one.rounded())) for clip, one in exported.rows()]
    types = {"clip": "str", "start_s": "float64", "end_s": "float64", "label": "str", "score": "float32"}
    table = pd.DataFrame(rows, columns=[*WINDOW_COLUMNS, *TIME_COLUMNS]).astype(types)
    with atomic_write(path) as temporary:
        table.drop(columns=_absent_columns(exported)).to_parquet(temporary, index=False)


FORMATS: dict[str, tuple[str, Callable[[Path, Exported], None]]] = {
    "audacity": ("audacity", write_audacity),
    "raven": ("raven", write_raven),
    "raven_merged": ("raven_merged.selections.txt", write_raven_merged),
    "kaleidoscope": ("kaleidoscope.csv", write_kaleidoscope),
    "dcase": ("dcase.tsv", write_dcase),
    "json": ("detections.json", write_json),
    "parquet": ("detections.parquet", write_parquet),
}
"""The name of each format's file or folder beside a submission, and the function that writes it."""
RAVEN_FILE_LIST = "raven_merged.audiofiles.txt"
"""Beside the merged selection table: a recording a line."""


def stale_exports(name: str, path: Path, clips: Collection[str]) -> list[Path]:
    """Files of a format at `path` but for those of `clips`: an earlier prediction wrote them."""
    if name not in CLIP_FILE_SUFFIXES:
        return [path] if path.exists() and not clips else []
    written = {path / _file_name(clip, CLIP_FILE_SUFFIXES[name]) for clip in clips}
    return sorted(set(path.rglob(f"*{CLIP_FILE_SUFFIXES[name]}")) - written)


def highest_hz(features: Features) -> float:
    """How high frames reach."""
    if features.kind in ("cqt", "cqt_chroma"):
        n_octaves = CHROMA_OCTAVES if features.kind == "cqt_chroma" else features.n_bins / features.bins_per_octave
        return float(features.fmin_hz * 2.0**n_octaves)
    return (features.kind != "stft" and features.fmax_hz) or features.sample_rate_hz / 2


def _absent_columns(exported: Exported) -> list[str]:
    """TIME_COLUMNS where it is not known of any recording when it began."""
    return [] if any(one.start_time for _, one in exported.rows()) else TIME_COLUMNS


def _selection(number: int, one: Detection, fmax_hz: float, offset_s: float = 0.0) -> str:
    """A row of a selection table; times are `offset_s` later than in the recording."""
    times = f"{offset_s + one.start_s:.6f}\t{offset_s + one.end_s:.6f}"
    return f"{number}\tSpectrogram 1\t1\t{times}\t0.0\t{fmax_hz:.1f}\t{_cell(one.label)}\t{one.score:.4f}"


def _cell(text: str) -> str:
    """Text that stays within its cell of a table with tabs: a tab or the end of a line becomes a space."""
    return re.sub(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]", " ", text)


def _absolute(path: Path) -> str:
    r"""An absolute path as text; bytes that are not UTF-8 as \xff."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")


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
