"""Scores of whole clips, by the windows that prediction uses."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from recipe import Prediction
from train.data.frame_bank import FrameBank
from train.evaluate.blend import blend
from train.evaluate.windows import pool_windows, slice_windows, window_starts
from train.networks.factory import AudioNetwork

# Large enough to fill a GPU, small enough that activations of 128 by 256 windows stay under 2 GB.
WINDOW_BATCH_SIZE = 64


def window_and_hop_frames(prediction: Prediction, frames_per_second: float) -> tuple[int, int]:
    """Frames of a window and of a hop, at least one."""
    return (
        max(round(prediction.window_seconds * frames_per_second), 1),
        max(round(prediction.hop_seconds * frames_per_second), 1),
    )


def score_clips(
    networks: Sequence[AudioNetwork], frame_bank: FrameBank, rows: Sequence[int], prediction: Prediction
) -> Tensor:
    """Probabilities of whole clips, rows of the frame bank as recorded: float32 [n_rows, n_labels] on the CPU.

    Networks of one recipe answer together, as in prediction: their scores of each window are blended, then pooled.
    Windows of several clips share a pass of a network. Leaves the networks in the modes they were in.
    """
    first_network = networks[0]
    window, hop = window_and_hop_frames(prediction, frame_bank.frames_per_second)
    counts: list[int] = []

    def windows() -> Iterator[Tensor]:
        for row in rows:
            frames = frame_bank.clip_frames(row)
            starts = window_starts(len(frames), window, hop)
            counts.append(len(starts))
            for chunk in np.split(starts, range(WINDOW_BATCH_SIZE, len(starts), WINDOW_BATCH_SIZE)):
                yield slice_windows(frames, chunk, window, first_network.short_clip_padding, first_network.kind)

    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    scores = [_score_ensemble(networks, x, prediction) for x in _rebatch(windows())]
    for network, training in zip(networks, modes, strict=True):
        network.train(training)
    return torch.stack([pool_windows(each, prediction) for each in torch.cat(scores).split(counts)]).cpu()


def _score_ensemble(networks: Sequence[AudioNetwork], x: Tensor, prediction: Prediction) -> Tensor:
    """Probabilities float32 [B, n_labels] of windows, blended over the networks; of one, its own to the bit."""
    scores = [score_windows(network, x) for network in networks]
    return blend(torch.stack(scores), prediction.blend) if len(scores) > 1 else scores[0]


@torch.inference_mode()
def score_windows(network: AudioNetwork, x: Tensor) -> Tensor:
    """Probabilities float32 [B, n_labels] of windows [B, n_frames, n_bins], by halves where memory is short.

    Raises UserError where there is too little of it for one window.
    """
    try:
        return network.probabilities(network(x))
    except torch.OutOfMemoryError:
        if len(x) == 1:
            raise UserError(
                f"{x.device} has too little memory for a window of {x.shape[1]} frames: lower "
                "prediction.window_seconds, or use --device cpu"
            ) from None
    return torch.cat([score_windows(network, half) for half in x.chunk(2)])  # out here, what failed has been freed


def _rebatch(window_batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same windows in batches of at least WINDOW_BATCH_SIZE, but for the last."""
    pending: list[Tensor] = []
    for window_batch in window_batches:
        pending.append(window_batch)
        if sum(map(len, pending)) >= WINDOW_BATCH_SIZE:
            yield torch.cat(pending)
            pending.clear()
    if pending:
        yield torch.cat(pending)
