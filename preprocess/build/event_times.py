"""Events against the lengths of their recordings, which are known once these are decoded."""

from collections.abc import Iterable

import pandas as pd

from core.errors import UserError
from preprocess.audio.downmix import CANCELLED_WARNING
from preprocess.store.schema import Row

TOLERANCE_S = 0.1
"""How much later than its recording an event may end: programs round, and count a codec's padding or do not."""


def fit_to_recordings(events: pd.DataFrame, rows: Iterable[Row]) -> tuple[pd.DataFrame, list[str]]:
    """Events that end with their recordings at the latest, and what was left out, a sentence each.

    `events` are of a RawDataset; those of recordings without frames stay as they are. Raises UserError, which names the
    table and its line, for an event beyond a recording that could be read whole; beyond one that could not, what lies
    behind its readable part is left out.
    """
    recordings = {row.clip: row for row in rows if row.variant == 0}
    durations_s = events["clip"].map({clip: row.duration_s for clip, row in recordings.items()}).astype("float64")
    beyond = events[events["end_s"] > durations_s + TOLERANCE_S]
    for clip, end_s, where in beyond[["clip", "end_s", "where"]].to_numpy().tolist():
        if not recordings[clip].warning or recordings[clip].warning.startswith(CANCELLED_WARNING):
            raise UserError(
                f"{where}: the event ends at {end_s:g} s, and {clip} after {recordings[clip].duration_s:.3f} s: "
                "mend the time, or the recording's name"
            )
    latest_s = durations_s.fillna(float("inf"))
    is_lost = events["start_s"] > latest_s + TOLERANCE_S
    fitted = events.assign(start_s=events["start_s"].clip(upper=latest_s), end_s=events["end_s"].clip(upper=latest_s))
    n_cut = beyond["clip"].nunique()
    lines = [f"{len(beyond)} events lie behind the part of {n_cut} recordings that could be read: cut or left out"]
    return fitted[~is_lost], lines if len(beyond) else []
