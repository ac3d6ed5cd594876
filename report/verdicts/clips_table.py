"""clips.csv of a review: what each clip is. Rows are added, and none is ever taken away."""

from core.entrypoint import log_warning

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError
from preprocess.store.file_identity import file_fingerprint, size_and_digest

CLIPS_NAME = "clips.csv"
KEY_COLUMNS = ["recording", "window_start_s", "window_end_s", "label"]
"""Which detection of the present recordings a row is of."""
NUMBERS = ["start_s", "end_s", "window_start_s", "window_end_s", "score"]
COLUMNS = ["clip", "label", "score", "recording", *NUMBERS[:4], "other_labels", "source"]
"""`score` as of the latest prediction, empty where it has no such window; `other_labels` are decided there too, by the
last prediction that has the window; `source` is size and digest of the recording, whose name may be that of others."""
MAX_STEM = 60


def name_clip(recording: str, source: str, start_s: float, end_s: float, suffix: str) -> str:
    """The file of a window's clip, below the folder of the review; windows of other recordings have other names.

    The time in a recorder's name is broken by a t, for the clip does not begin then.
    """
    stem = re.sub(r"[^\w-]+", "_", PurePosixPath(recording).stem, flags=re.ASCII)[:MAX_STEM]
    digest = hashlib.sha256(f"{recording}\0{source}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = re.sub(r"(\d{8}|\d{4}-\d\d-\d\d)[_T-](?=\d)", r"\1t", f"{stem}_{digest}_{start_s:.3f}-{end_s:.3f}")
    return f"clips/{name}.{suffix}"


def find_sources(recordings: Mapping[str, Path], names: Iterable[str]) -> dict[str, str]:
    """Size and digest of those of the named recordings that are there."""
    return {name: size_and_digest(file_fingerprint(str(recordings[name]))) for name in recordings.keys() & names}


def read_clips(folder: Path, recordings: Mapping[str, Path]) -> pd.DataFrame:
    """The table of a review's clips, with no rows where there is none yet; `is_present` are those of `recordings`.

    Clips of an earlier version, which have no source, are taken as of these. Raises UserError.
    """
    path = folder / CLIPS_NAME
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS).astype(dict.fromkeys(NUMBERS, "float64")).assign(is_present=False)
    table = read_table(path, COLUMNS[:-1])
    if "source" not in table:
        log_warning(f"{path} is of an earlier version: its clips are taken as of the recordings that are there now")
    table = table.reindex(columns=COLUMNS, fill_value="")
    sources = table["recording"].map(find_sources(recordings, set(table["recording"]))).fillna("")
    table["source"] = table["source"].where(table["source"] != "", sources)
    table["is_present"] = (table["source"] == sources) & (sources != "")
    for name in NUMBERS:
        values = pd.to_numeric(table[name].replace("", "nan"), errors="coerce")
        if len(odd := table.index[values.isna() & ~((name == "score") & (table[name] == ""))]):
            raise UserError(f"{path}: {name} of {table['clip'][odd[0]]!r} is {table[name][odd[0]]!r}, and no number")
        # Times that are compared are rounded, as texts of the same time are not always parsed alike.
        table[name] = values.round(3) if name in KEY_COLUMNS else values
    return table


def write_clips(folder: Path, clips: pd.DataFrame) -> None:
    """Write the table of a review's clips."""
    texts = clips[COLUMNS].assign(
        score=["" if pd.isna(score) else f"{score:.6g}" for score in clips["score"]],
        **{name: clips[name].map("{:.9g}".format) for name in ("start_s", "end_s")},
        **{name: clips[name].map("{:.3f}".format) for name in ("window_start_s", "window_end_s")},
    )
    write_table(folder / CLIPS_NAME, COLUMNS, texts.itertuples(index=False, name=None))


def add_clips(clips: pd.DataFrame, chosen: pd.DataFrame, recordings: Mapping[str, Path], suffix: str) -> pd.DataFrame:
    """The rows of `chosen` that `clips` has not, with their files' names, but not yet where they are cut."""
    known = set(clips[KEY_COLUMNS].itertuples(index=False, name=None))
    # With .loc, because an empty list without it chooses columns: none.
    rows = chosen.loc[[key not in known for key in chosen[KEY_COLUMNS].itertuples(index=False, name=None)]]
    sources = find_sources(recordings, set(rows["recording"]))
    spans = rows[KEY_COLUMNS[:3]].itertuples(index=False, name=None)
    names = [name_clip(name, sources[name], start_s, end_s, suffix) for name, start_s, end_s in spans]
    return rows.assign(clip=names, source=rows["recording"].map(sources), is_present=True)


def with_scores(clips: pd.DataFrame, detections: pd.DataFrame) -> pd.DataFrame:
    """The clips with the scores that the latest prediction gives; NaN where it has no such window of this sound."""
    scores = clips[KEY_COLUMNS].merge(detections[[*KEY_COLUMNS, "score"]], on=KEY_COLUMNS, how="left")["score"]
    return clips.assign(score=scores.where(clips["is_present"].to_numpy()).to_numpy())


def review_id(folder: Path) -> str:
    """What a browser keeps the verdicts of a review under."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
