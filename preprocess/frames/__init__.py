"""Mono sound → frames [n_frames, n_bins], by kind. A transform takes and yields blocks, so length costs no memory."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from preprocess.frames.constant_q import ConstantQ
from preprocess.frames.dynamic_range import count_reach_frames, limit_range
from preprocess.frames.framing import Frames, Samples
from preprocess.frames.logmel import LogMel
from preprocess.frames.stft import Stft
from preprocess.frames.waveform import Waveform
from recipe import Features

Transform = Callable[[Iterable[Samples]], Iterator[Frames]]
"""Blocks of sound → blocks of frames; joined, they are the frames of the sound joined."""

TRANSFORMS: dict[str, Callable[[Features], Transform]] = {
    "logmel": LogMel,
    "stft": Stft,
    "cqt": ConstantQ,
    "cqt_chroma": ConstantQ,
    "waveform": Waveform,
}
"""To add a kind: a class that takes Features, a line here, its name in recipe.Features, its encoding in
preprocess/store/encoding.py."""


def build_transform(features: Features) -> Transform:
    """The transform of a recipe's kind of frames, with their floor."""
    transform, top_db = TRANSFORMS[features.kind](features), features.top_db
    if top_db is None:
        return transform
    return lambda blocks: limit_range(transform(blocks), top_db, count_reach_frames(features))


_last_transform: list[tuple[Features, Transform]] = []


def get_transform(features: Features) -> Transform:
    """The same, made once a process."""
    if not _last_transform or _last_transform[0][0] != features:
        _last_transform[:] = [(features, build_transform(features))]
    return _last_transform[0][1]


def compute_frames(sound: Samples, features: Features) -> Frames:
    """The frames [n_frames, n_bins] of one sound at the recipe's rate, before storage."""
    return np.concatenate(list(build_transform(features)([sound])))
