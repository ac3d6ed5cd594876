"""A network's scores of windows: of each by itself (exact), or from one pass over all their frames (dense)."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.device import to_device
from core.errors import UserError
from train.evaluate.windows import slice_windows
from train.networks.factory import AudioNetwork

CPU_BATCH_WINDOWS, GPU_BATCH_WINDOWS = 32, 64
"""Windows in a batch; on a CPU more are no faster, on a GPU more take memory."""

ClipWindows = tuple[Tensor, np.ndarray]
"""Frames [n_frames, n_bins] of a clip, and the first frames of windows in them."""


def supports_dense(network: AudioNetwork) -> bool:
    """Whether windows may share time steps: the head takes any number of them, and no layer pools the whole input."""
    # By name, because importing torchvision takes two seconds.
    return network.dense and not any(type(layer).__name__ == "SqueezeExcitation" for layer in network.modules())


def forward_windows(network: AudioNetwork, clips: Sequence[ClipWindows], window: int, *, dense: bool) -> Tensor:
    """Probabilities float32 [n_windows, n_labels] of the windows of some clips, clip after clip."""
    torch.backends.cudnn.benchmark = not dense  # it times convolutions for each new size, and clips have many lengths
    scores = []
    for exact, some in itertools.groupby(clips, lambda clip: not dense or len(clip[0]) < window):
        scores.append((_score_exact if exact else _score_dense)(network, list(some), window))
    return torch.cat(scores)


def _score_exact(network: AudioNetwork, clips: Sequence[ClipWindows], window: int) -> Tensor:
    """Scores of windows, each by itself."""
    windows = []
    for frames, starts in clips:
        some = slice_windows(frames, starts, window, network.short_clip_padding, network.kind)
        windows.append(some.expand(len(starts), -1, -1))
    x = torch.cat(windows)
    if x.device.type == "cpu":
        return torch.cat([run_network(network, batch) for batch in x.split(CPU_BATCH_WINDOWS)])
    return score_in_fixed_sizes(network, x)


def score_in_fixed_sizes(network: AudioNetwork, x: Tensor) -> Tensor:
    """Probabilities of windows in batches of GPU_BATCH_WINDOWS, and the rest filled up to a power of two.

    A GPU times its convolutions for each new size of a batch, and so meets seven sizes in all.
    """
    scores = []
    for batch in x.split(GPU_BATCH_WINDOWS):
        n_filled = 1 << (len(batch) - 1).bit_length()
        filled = functional.pad(batch, (0, 0, 0, 0, 0, n_filled - len(batch)))
        scores.append(run_network(network, filled)[: len(batch)])
    return torch.cat(scores)


@torch.inference_mode()
def _score_dense(network: AudioNetwork, clips: Sequence[ClipWindows], window: int) -> Tensor:
    """Scores of windows from the time steps nearest to them; neighbouring clips of one length share a pass.

    At a window's edges the network takes the frames beyond them, and in exact mode padding.
    """
    picked = []
    for _, some in itertools.groupby(clips, lambda clip: len(clip[0])):
        frames, starts = zip(*some, strict=True)
        for columns, each in zip(network.time_steps(torch.stack(frames)), starts, strict=True):
            picked.append(_gather_columns(columns, each / network.time_stride, window / network.time_stride))
    return network.probabilities(network.head(torch.cat(picked)))


def _gather_columns(columns: Tensor, starts: np.ndarray, width: float) -> Tensor:
    """Windows [n_windows, channels, n_columns] of a clip's columns; `starts` and `width` need not be whole."""
    n_columns = columns.shape[-1]
    n_window_columns = min(max(round(width), 1), n_columns)
    first = np.minimum((starts + 0.5).astype(np.int64), n_columns - n_window_columns)
    picked = to_device(torch.from_numpy(first[:, None] + np.arange(n_window_columns)), columns.device)
    return columns[:, picked].transpose(0, 1)


@torch.inference_mode()
def run_network(network: AudioNetwork, x: Tensor) -> Tensor:
    """Probabilities float32 [B, n_labels] of windows [B, n_frames, n_bins], by halves where memory is short.

    Raises UserError where it is too short for one window.
    """
    try:
        return network.probabilities(network(x))
    except torch.OutOfMemoryError:
        if len(x) == 1:
            raise UserError(
                f"{x.device} has too little memory for a window of {x.shape[1]} frames: lower "
                "prediction.window_seconds, or use --device cpu"
            ) from None
    return torch.cat([run_network(network, half) for half in x.chunk(2)])  # here, the memory of the try is free again
