"""Scores of whole clips, by the windows that prediction uses."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from errors import BadInput
from recipe import Prediction
from train.memory import Memory
from train.networks import SoundNetwork
from train.windows import cut_windows, pool_windows, window_starts

# Large enough to fill a GPU, small enough that activations of 128 by 256 windows stay under 2 GB.
WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class WindowScores:
    """Where a clip's windows lie, and what the network says of each."""

    start_frames: np.ndarray
    """[n_windows] int64"""
    end_frames: np.ndarray
    """[n_windows] int64; past the last frame where a short clip was filled."""
    scores: Tensor
    """Probabilities float32 [n_windows, n_labels], on the network's device."""


def window_frames(prediction: Prediction, frames_per_second: float) -> tuple[int, int]:
    """Frames of a window and of a hop, at least one."""
    return (
        max(round(prediction.window_seconds * frames_per_second), 1),
        max(round(prediction.hop_seconds * frames_per_second), 1),
    )


def score_windows(
    network: SoundNetwork, frames: Tensor, prediction: Prediction, frames_per_second: float
) -> WindowScores:
    """Scores of each window of one clip, float32 [n, n_bins] in physical units; the network is in eval mode."""
    window, hop = window_frames(prediction, frames_per_second)
    starts = window_starts(len(frames), window, hop)
    parts = [
        run_network(network, cut_windows(frames, some, window, network.short_clips, network.kind))
        for some in np.split(starts, range(WINDOWS_AT_ONCE, len(starts), WINDOWS_AT_ONCE))
    ]
    return WindowScores(starts, starts + window, torch.cat(parts))


def score_clips(network: SoundNetwork, memory: Memory, rows: Sequence[int], prediction: Prediction) -> Tensor:
    """Probabilities of whole clips, rows of the memory as recorded: float32 [n_rows, n_labels] on the CPU.

    Windows of several clips share a pass of the network. Leaves the network in the mode it was in.
    """
    window, hop = window_frames(prediction, memory.frames_per_second)
    counts: list[int] = []

    def windows() -> Iterator[Tensor]:
        for row in rows:
            frames = memory.clip_frames(row)
            starts = window_starts(len(frames), window, hop)
            counts.append(len(starts))
            for some in np.split(starts, range(WINDOWS_AT_ONCE, len(starts), WINDOWS_AT_ONCE)):
                yield cut_windows(frames, some, window, network.short_clips, network.kind)

    training = network.training
    network.eval()
    scores = [run_network(network, x) for x in _gathered(windows())]
    network.train(training)
    if not scores:
        return torch.empty(0)
    return torch.stack([pool_windows(some, prediction) for some in torch.cat(scores).split(counts)]).cpu()


@torch.inference_mode()
def run_network(network: SoundNetwork, x: Tensor) -> Tensor:
    """Probabilities float32 [B, n_labels] of windows [B, n_frames, n_bins], by halves where memory is short.

    Raises BadInput where there is too little of it for one window.
    """
    try:
        return network.probabilities(network(x))
    except torch.OutOfMemoryError:
        if len(x) == 1:
            raise BadInput(
                f"{x.device} has too little memory for a window of {x.shape[1]} frames: lower "
                "prediction.window_seconds, or use --device cpu"
            ) from None
    return torch.cat([run_network(network, half) for half in x.chunk(2)])  # out here, what failed has been freed


def _gathered(parts: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same windows in batches of at least WINDOWS_AT_ONCE, but for the last."""
    waiting: list[Tensor] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= WINDOWS_AT_ONCE:
            yield torch.cat(waiting)
            waiting.clear()
    if waiting:
        yield torch.cat(waiting)
