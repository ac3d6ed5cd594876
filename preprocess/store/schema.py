"""What a feature store holds: rows, how values are coded, what they depend on, and what may be wrong with one."""

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

SCHEMA = 1
"""Raise it when a store's layout, or the meaning of its frames, changes: every older store is then made anew."""
SCALE_VERSIONS = {("cqt", "uint8"): 1}
"""How often the scale of stored numbers has changed, by features.kind and storage: every older store is made anew."""
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
    """Size and time of the recording it was made from."""
    start_s: float
    """Seconds cut off the recording's start; below zero where silence was put before it."""
    duration_s: float
    """Of the whole recording."""
    n_frames: int
    digest: str


def frames_digest(frames: EncodedFrames) -> str:
    """Digest of some stored frames; of blocks of them, see xxhash.xxh3_128."""
    return xxhash.xxh3_128_hexdigest(frames.tobytes() if not frames.flags.c_contiguous else frames.data)


def features_digest(features: Features) -> str:
    """Names everything that frames depend on, beside the recording."""
    scale_version = SCALE_VERSIONS.get((features.kind, features.storage))
    text = json.dumps([SCHEMA, as_dict(features), *([scale_version] if scale_version else [])], sort_keys=True)
    return xxhash.xxh3_128_hexdigest(text.encode())


def describe_changes(theirs: dict[str, Any], features: Features) -> str:
    """The keys in which the features of a store that is not a recipe's differ from the recipe's, in words."""
    ours = as_dict(features)
    keys = [key for key in {**ours, **theirs} if theirs.get(key) != ours.get(key)]
    return ", ".join(f"features.{key} was {theirs.get(key)}, is {ours.get(key)}" for key in keys) or (
        f"features.storage {features.storage} had another scale in an earlier version"
    )


class CorruptStore(UserError):
    """A store that is not what was written; `reason` says how."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; run make features again to repair it"


class RecipeMismatch(UserError):
    """A store of other features than the recipe's; `changes` says which keys differ."""

    def __init__(self, path: Path, changes: str) -> None:
        super().__init__(path, changes)
        self.path, self.changes = path, changes

    def __str__(self) -> str:
        return f"{self.path}: made by another recipe ({self.changes}); run make features to make it anew"
