"""What a feature store holds: rows, how values are encoded, what they depend on, and what may be wrong with one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from core.errors import UserError
from recipe import Features, as_dict

EncodedFrames = npt.NDArray[Any]
"""Frames as stored, [n_frames, n_bins]; value = stored * scale + offset."""

SCHEMA = 3
"""Raise it when a store's layout, or the meaning of its frames, changes: all frames are then computed anew."""
READ_BYTES = 1 << 22
"""Bytes read at once, to be hashed while they are still in the cache."""


@dataclass(frozen=True)
class FrameEncoding:
    """How values become stored numbers, and what a frame is."""

    dtype: np.dtype[Any]
    n_bins: int
    frames_per_second: float
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Row:
    """One variant of one clip, without its frames."""

    clip: str
    variant: int
    """0 as recorded; 1, 2, … its offline copies."""
    source: str
    """Fingerprint of the recording."""
    start_s: float
    """Seconds cut off the recording's start; below zero where silence was put before it."""
    duration_s: float
    """Of the whole recording."""
    n_frames: int
    digest: str
    warning: str = ""
    """What of the recording could not be read, or looks odd."""


def features_digest(features: Features) -> str:
    """Digest of everything that frames depend on, beside the recording."""
    text = json.dumps([SCHEMA, as_dict(features)], sort_keys=True)
    return xxhash.xxh3_128_hexdigest(text.encode())


@dataclass(eq=False)
class CorruptStore(UserError):
    """A store that is not what was written."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; run make features again to repair it"


@dataclass(eq=False)
class RecipeMismatch(UserError):
    """A store of other features than the recipe's."""

    path: Path
    changes: str

    def __str__(self) -> str:
        return f"{self.path}: made by another recipe ({self.changes}); run make features to make it anew"


def check_features(path: Path, stored: dict[str, Any], digest: str, features: Features) -> None:
    """Raise RecipeMismatch where the features `stored` in a file, of a `digest`, are not those of the recipe."""
    if digest == features_digest(features):
        return
    ours = as_dict(features)
    changes = [
        f"features.{key} was {stored.get(key)}, is {ours.get(key)}"
        for key in {**ours, **stored}
        if stored.get(key) != ours.get(key)
    ] or ["the frames of an earlier version were others"]
    raise RecipeMismatch(path, ", ".join(changes))
