"""clips.csv of a review: what each clip is. Rows are added, and none is ever taken away."""

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError

CLIPS_NAME = "clips.csv"
KEY_COLUMNS = ["recording", "window_start_s", "window_end_s", "label"]
"""Which detection a row is of."""
NUMBERS = ["start_s", "end_s", "window_start_s", "window_end_s", "score"]
COLUMNS = ["clip", "label", "score", "recording", "start_s", "end_s", "window_start_s", "window_end_s", "other_labels"]
"""`score` as of the latest prediction, empty where it has no such window; `other_labels` are decided there too, by the
last prediction that has the window."""
MAX_STEM = 60


def name_clip(recording: str, start_s: float, end_s: float, suffix: str) -> str:
    """The file of a window's clip, below the folder of the review; windows of other recordings have other names."""
    stem = re.sub(r"[^\w-]+", "_", PurePosixPath(recording).stem, flags=re.ASCII)[:MAX_STEM]
    digest = hashlib.sha256(recording.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"clips/{stem}_{digest}_{start_s:.3f}-{end_s:.3f}.{suffix}"


def read_clips(folder: Path) -> pd.DataFrame:
    """The table of a review's clips, with no rows where there is none yet. Raises UserError."""
    path = folder / CLIPS_NAME
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS).astype(dict.fromkeys(NUMBERS, "float64"))
    table = read_table(path, COLUMNS)[COLUMNS]
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


def add_clips(clips: pd.DataFrame, chosen: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """The rows of `chosen` that `clips` has not, with their files' names, but not yet where they are cut."""
    known = set(clips[KEY_COLUMNS].itertuples(index=False, name=None))
    # With .loc, because an empty list without it chooses columns: none.
    rows = chosen.loc[[key not in known for key in chosen[KEY_COLUMNS].itertuples(index=False, name=None)]]
    names = [name_clip(str(a), b, c, suffix) for a, b, c in rows[KEY_COLUMNS[:3]].itertuples(index=False, name=None)]
    return rows.assign(clip=names)


def with_scores(clips: pd.DataFrame, detections: pd.DataFrame) -> pd.DataFrame:
    """The clips with the scores that the latest prediction gives; NaN where it has no such window."""
    scores = clips[KEY_COLUMNS].merge(detections[[*KEY_COLUMNS, "score"]], on=KEY_COLUMNS, how="left")["score"]
    return clips.assign(score=scores.to_numpy())


def review_id(folder: Path) -> str:
    """What a browser keeps the verdicts of a review under."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
