"""Mono sound → frames [n_frames, n_bins], by kind. Blocks go in and blocks come out, so that length costs no memory."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from core.errors import UserError
from preprocess.frames.constant_q import ConstantQ
from preprocess.frames.framing import Frames, Samples
from preprocess.frames.logmel import LogMel
from preprocess.frames.stft import Stft
from recipe import Features

Transform = Callable[[Iterable[Samples]], Iterator[Frames]]
"""Blocks of sound → blocks of frames; joined, they are the frames of the sound joined."""


class Waveform:
    """The samples themselves, n_bins a frame; the last frame is filled up with zeros."""

    def __init__(self, features: Features) -> None:
        self.n_bins = features.n_bins

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins] of blocks of sound."""
        rest = np.zeros(0, np.float32)
        for block in blocks:
            samples = np.concatenate([rest, block])
            n_whole = len(samples) // self.n_bins * self.n_bins
            yield samples[:n_whole].reshape(-1, self.n_bins)
            rest = samples[n_whole:]
        if len(rest):
            yield np.pad(rest, (0, self.n_bins - len(rest)))[None]


TRANSFORMS: dict[str, Callable[[Features], Transform]] = {
    "logmel": LogMel,
    "stft": Stft,
    "cqt": ConstantQ,
    "cqt_chroma": ConstantQ,
    "waveform": Waveform,
}
"""To add a kind: a class that takes Features, a line here, its name in recipe.Features, its encoding in
preprocess/store/encoding.py."""


def build_transform(features: Features, device: str = "cpu") -> Transform:
    """What makes a recipe's frames, on the CPU or, for logmel, on another device of torch."""
    if device == "cpu":
        return TRANSFORMS[features.kind](features)
    if features.kind != "logmel":
        raise UserError(f"features.kind = {features.kind}: only logmel can be computed with --device {device}")
    from preprocess.frames.gpu import GpuLogMel  # torch takes seconds

    return GpuLogMel(features, device)


def compute_frames(sound: Samples, features: Features) -> Frames:
    """The frames [n_frames, n_bins] of one sound at the recipe's rate, before top_db and storage."""
    return np.concatenate(list(build_transform(features)([sound])))
