"""Progress of a long loop on standard error: a bar on a terminal, otherwise a line now and then."""

import os
import sys
import time
from typing import Any

from tqdm import tqdm

LINE_INTERVAL_S = 10.0
LINE_FORMAT = "{desc}: {n_fmt}/{total_fmt}{unit}s, {rate_noinv_fmt}, {elapsed} elapsed, {remaining} left{postfix}"


class ProgressLines(tqdm):
    """Prints a line at most every LINE_INTERVAL_S, and one at the end, each of them once."""

    def __init__(self, **options: Any) -> None:
        self.printed_s = time.monotonic()
        self.printed: tuple[object, object] | None = None
        # leave=False: close() then displays an empty message.
        super().__init__(**options, leave=False, bar_format=LINE_FORMAT, smoothing=0, miniters=1)
        self.ncols = None  # a line is as long as it is

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        now_s, state = time.monotonic(), (self.n, self.postfix)
        if state != self.printed and (msg == "" or now_s - self.printed_s >= LINE_INTERVAL_S):
            self.printed_s, self.printed = now_s, state
            print(self, file=self.fp, flush=True)

    def clear(self, nolock: bool = False) -> None:
        pass


def progress_bar(total: int, description: str, unit: str, *, position: int = 0, disable: bool = False) -> "tqdm[Any]":
    """A progress bar of `total` steps; parallel bars have different positions, lines of the terminal."""
    options: dict[str, Any] = {"desc": description, "total": total, "unit": f" {unit}", "disable": disable}
    # A notebook's terminal may have no columns; a bar would be empty there.
    if sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns:
        return tqdm(**options, position=position, dynamic_ncols=True)
    return ProgressLines(**options)
