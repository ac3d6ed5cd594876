"""Windows through a network: each by itself (exact), or from one pass over all the frames they lie in (dense)."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from train.evaluate.windows import slice_windows
from train.networks.factory import AudioNetwork

CPU_BATCH_WINDOWS = 32
"""Windows that a network takes at once on a CPU, where more are no faster and take more memory."""

ClipWindows = tuple[Tensor, np.ndarray]
"""Frames [n_frames, n_bins] of a clip, and the first frames of windows in them."""


def supports_dense(network: AudioNetwork) -> bool:
    """Whether windows may share time steps: the head takes any run of them, and no layer looks at the whole input."""
    # By name: importing torchvision takes two seconds, which commands with other networks do without.
    return network.dense and not any(type(layer).__name__ == "SqueezeExcitation" for layer in network.modules())


def forward_windows(network: AudioNetwork, clips: Sequence[ClipWindows], window: int, *, dense: bool) -> Tensor:
    """Probabilities float32 [n_windows, n_labels] of the windows of some clips, clip after clip.

    Windows of a clip shorter than they are have nothing to share.
    """
    scores = []
    for exact, some in itertools.groupby(clips, lambda clip: not dense or len(clip[0]) < window):
        scores.append((_score_exact if exact else _score_dense)(network, list(some), window))
    return torch.cat(scores)


def _score_exact(network: AudioNetwork, clips: Sequence[ClipWindows], window: int) -> Tensor:
    """Scores of windows, each by itself."""
    windows = torch.cat(
        [
            slice_windows(frames, starts, window, network.short_clip_padding, network.kind).expand(len(starts), -1, -1)
            for frames, starts in clips
        ]
    )
    at_once = CPU_BATCH_WINDOWS if windows.device.type == "cpu" else len(windows)
    return torch.cat([run_network(network, some) for some in windows.split(at_once)])


@torch.inference_mode()
def _score_dense(network: AudioNetwork, clips: Sequence[ClipWindows], window: int) -> Tensor:
    """Scores of windows from the time steps nearest to them; neighbouring clips of one length share a pass.

    At a window's edges the network sees the frames beyond them, where by itself it sees padding.
    """
    picked = []
    for _, some in itertools.groupby(clips, lambda clip: len(clip[0])):
        frames, starts = zip(*some, strict=True)
        for columns, each in zip(network.time_steps(torch.stack(frames)), starts, strict=True):
            picked.append(_gather_columns(columns, each / network.time_stride, window / network.time_stride))
    return network.probabilities(network.head(torch.cat(picked)))


def _gather_columns(columns: Tensor, starts: np.ndarray, width: float) -> Tensor:
    """Windows [n_windows, channels, n_columns] of a clip's columns; `starts` and `width` are in columns, not whole."""
    n_columns = columns.shape[-1]
    n_window_columns = min(max(round(width), 1), n_columns)
    first = np.minimum((starts + 0.5).astype(np.int64), n_columns - n_window_columns)
    picked = torch.from_numpy(first[:, None] + np.arange(n_window_columns)).to(columns.device)
    return columns[:, picked].transpose(0, 1)


@torch.inference_mode()
def run_network(network: AudioNetwork, x: Tensor) -> Tensor:
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
    return torch.cat([run_network(network, half) for half in x.chunk(2)])  # out here, what failed has been freed
