"""The table of events beside the table of clips: labels in time, as later steps know them."""

from pathlib import Path

import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError

EVENT_COLUMNS = ["clip", "start_s", "end_s", "label"]
TIMES = ["start_s", "end_s"]


def write_event_table(path: Path, events: pd.DataFrame) -> None:
    """Write events as a CSV, atomically; times are read back unchanged."""
    write_table(path, EVENT_COLUMNS, events[EVENT_COLUMNS].itertuples(index=False))


def read_event_table(path: Path) -> pd.DataFrame | None:
    """The events, a row each: clip, start_s and end_s (float64, of the recording), label; None where there is no table.

    Raises UserError for times that are no numbers.
    """
    if not path.exists():
        return None
    events = read_table(path, EVENT_COLUMNS, hint="run make features again")[EVENT_COLUMNS]
    try:
        return events.astype(dict.fromkeys(TIMES, "float64"))
    except ValueError as error:
        raise UserError(f"{path} has a time that is no number ({error}): run make features again") from None
