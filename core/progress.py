"""Progress of many recordings: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

LINE_INTERVAL_S = 10.0
"""Seconds between lines where there is no terminal."""


class RecordingProgress:
    """Counts clips, hours of sound and failures on standard error."""

    def __init__(self, n_clips: int) -> None:
        self.n_clips, self.n_done, self.n_failed, self.audio_s = n_clips, 0, 0, 0.0
        self._began = self._last_line_at = time.monotonic()
        self._bar = tqdm(total=n_clips, unit=" clips", disable=not sys.stderr.isatty(), dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, duration_s: float, failed: bool) -> None:
        """One more clip is done with."""
        self.n_done += 1
        self.n_failed += failed
        self.audio_s += duration_s
        self._bar.set_postfix_str(f"{self.audio_s / 3600:.2f} h of sound, {self.n_failed} failed", refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._bar.disable and now - self._last_line_at >= LINE_INTERVAL_S:
            self._last_line_at = now
            print(self.line(now - self._began), file=sys.stderr, flush=True)

    def line(self, elapsed_s: float) -> str:
        """Where things stand after some seconds."""
        rate = self.n_done / elapsed_s
        left_s = (self.n_clips - self.n_done) / rate
        return (
            f"{self.n_done}/{self.n_clips} clips, {self.audio_s / 3600:.2f} h of sound, {rate:.1f} clips/s, "
            f"{left_s:.0f} s left, {self.n_failed} failed"
        )
