"""Test-time augmentation: every window heard in several ways, its scores averaged."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recipe import Prediction
from train.evaluate.score_clips import window_and_hop_frames


@dataclass(frozen=True)
class View:
    """One way to hear a window."""

    window: int
    """Frames heard, about the window's middle."""
    shift: int = 0
    """Frames later than the window."""
    gain_db: float = 0.0
    """Louder than recorded."""

    def shift_starts(self, starts: np.ndarray, window: int, n_frames: int) -> np.ndarray:
        """First frames [n_windows] of this view of windows that begin at `starts`, within `n_frames`."""
        shifted = starts + (window - self.window) // 2 + self.shift
        return np.clip(shifted, 0, max(n_frames - self.window, 0))

    def apply_gain(self, frames: Tensor, kind: str) -> Tensor:
        """The frames at this view's gain; chroma is the same at any."""
        if not self.gain_db or kind == "cqt_chroma":
            return frames
        return frames * 10 ** (self.gain_db / 20) if kind == "waveform" else frames + self.gain_db


def make_views(prediction: Prediction, frames_per_second: float) -> list[View]:
    """The window as it is, and the recipe's further views, each with one thing changed."""
    window = window_and_hop_frames(prediction, frames_per_second)[0]
    return [
        View(window),
        *(View(window, shift=round(shift_s * frames_per_second)) for shift_s in prediction.view_shifts_s),
        *(View(window, gain_db=gain_db) for gain_db in prediction.view_gains_db),
        *(View(max(round(window_s * frames_per_second), 1)) for window_s in prediction.view_windows_s),
    ]


def view_margin(views: list[View], window: int) -> int:
    """How many frames views lie beyond their window, on either side; at a clip's ends a longer one lies on one side."""
    return max(abs(view.shift) + max(view.window - window, 0) for view in views)
