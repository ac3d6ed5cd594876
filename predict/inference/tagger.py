"""From frames of a clip to its prediction: window scores, calibrated and pooled."""

from dataclasses import dataclass

import numpy as np
import torch

from predict.decide.calibration import apply_temperature
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.evaluate.windows import pool_windows, window_and_hop_frames


@dataclass(frozen=True)
class ClipPrediction:
    """The scores of one clip, and of its windows in seconds of the original recording."""

    start_s: np.ndarray
    """[n_windows]"""
    end_s: np.ndarray
    """[n_windows]; no window ends after the recording."""
    windows: np.ndarray
    """Probabilities [n_windows, n_labels], blended over the networks; or embeddings [n_windows, n_values]."""
    scores: np.ndarray
    """Probabilities [n_labels], or an embedding [n_values], pooled over the windows."""
    duration_s: float
    """Length of the recording."""


@dataclass(frozen=True)
class Tagger:
    """Networks of one run, whose window scores are calibrated by a temperature and pooled."""

    scorer: WindowScorer
    labels: list[str]
    temperature: float = 1.0

    def pool_clip(self, window_scores: WindowScores, start_s: float, duration_s: float) -> ClipPrediction:
        """The prediction from all windows of a clip.

        `start_s` seconds of the recording come before its first frame (below zero: silence was put there), and
        `duration_s` is its length.
        """
        prediction, frames_per_second = self.scorer.prediction, self.scorer.frames_per_second
        window, _ = window_and_hop_frames(prediction, frames_per_second)
        activation, starts = self.scorer.networks[0].activation, window_scores.start_frames
        windows = apply_temperature(torch.from_numpy(window_scores.scores), self.temperature, activation)
        return ClipPrediction(
            start_s=np.clip(start_s + starts / frames_per_second, 0, duration_s),
            end_s=np.clip(start_s + (starts + window) / frames_per_second, 0, duration_s),
            windows=windows.numpy(),
            scores=pool_windows(windows, prediction).numpy(),
            duration_s=duration_s,
        )
