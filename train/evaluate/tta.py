"""Test-time augmentation: every window scored in several views, whose scores are averaged."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recipe import Prediction


@dataclass(frozen=True)
class View:
    """A window moved in time or made louder."""

    shift: int = 0
    """Frames later than the window."""
    gain_db: float = 0.0

    def shift_starts(self, starts: np.ndarray, window: int, n_frames: int) -> np.ndarray:
        """First frames [n_windows] of this view of windows of `window` frames at `starts`, within `n_frames`."""
        return np.clip(starts + self.shift, 0, max(n_frames - window, 0))

    def apply_gain(self, frames: Tensor, kind: str) -> Tensor:
        """The frames at this view's gain; chroma is the same at any."""
        if not self.gain_db or kind == "cqt_chroma":
            return frames
        return frames * 10 ** (self.gain_db / 20) if kind == "waveform" else frames + self.gain_db


def make_views(prediction: Prediction, frames_per_second: float) -> list[View]:
    """The window as it is, and the recipe's further views, each with one thing changed."""
    return [
        View(),
        *(View(shift=round(shift_s * frames_per_second)) for shift_s in prediction.view_shifts_s),
        *(View(gain_db=gain_db) for gain_db in prediction.view_gains_db),
    ]
