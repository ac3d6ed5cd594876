"""Scores of whole clips, by the windows that prediction uses."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from core.errors import BadInput
from recipe import Prediction
from train.data.frame_bank import Memory
from train.evaluate.blend import blend
from train.evaluate.windows import cut_windows, pool_windows, window_starts
from train.networks.factory import SoundNetwork

# Large enough to fill a GPU, small enough that activations of 128 by 256 windows stay under 2 GB.
WINDOWS_AT_ONCE = 64


def window_frames(prediction: Prediction, frames_per_second: float) -> tuple[int, int]:
    """Frames of a window and of a hop, at least one."""
    return (
        max(round(prediction.window_seconds * frames_per_second), 1),
        max(round(prediction.hop_seconds * frames_per_second), 1),
    )


def score_clips(
    networks: Sequence[SoundNetwork], memory: Memory, rows: Sequence[int], prediction: Prediction
) -> Tensor:
    """Probabilities of whole clips, rows of the memory as recorded: float32 [n_rows, n_labels] on the CPU.

    Networks of one recipe answer together, as in prediction: their scores of each window are blended, then pooled.
    Windows of several clips share a pass of a network. Leaves the networks in the modes they were in.
    """
    first = networks[0]
    window, hop = window_frames(prediction, memory.frames_per_second)
    counts: list[int] = []

    def windows() -> Iterator[Tensor]:
        for row in rows:
            frames = memory.clip_frames(row)
            starts = window_starts(len(frames), window, hop)
            counts.append(len(starts))
            for some in np.split(starts, range(WINDOWS_AT_ONCE, len(starts), WINDOWS_AT_ONCE)):
                yield cut_windows(frames, some, window, first.short_clips, first.kind)

    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    scores = [_run_together(networks, x, prediction) for x in _gathered(windows())]
    for network, training in zip(networks, modes, strict=True):
        network.train(training)
    return torch.stack([pool_windows(some, prediction) for some in torch.cat(scores).split(counts)]).cpu()


def _run_together(networks: Sequence[SoundNetwork], x: Tensor, prediction: Prediction) -> Tensor:
    """Probabilities float32 [B, n_labels] of windows, blended over the networks; of one, its own to the bit."""
    scores = [run_network(network, x) for network in networks]
    return blend(torch.stack(scores), prediction.blend) if len(scores) > 1 else scores[0]


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
