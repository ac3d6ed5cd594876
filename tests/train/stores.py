"""Small stores and memories of random frames for tests of training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from preprocess.store.schema import Coding, Row, digest_of
from preprocess.store.writer import Piece, write_store
from recipe import Features
from train.data.frame_bank import Memory

Name = tuple[str, int]
"""A clip and its variant."""


def random_frames(dtype: str, n_frames: int, n_bins: int, seed: int) -> NDArray[Any]:
    """[n_frames, n_bins] stored values that use the range of their type."""
    random = np.random.default_rng(seed)
    if dtype == "float16":
        return random.uniform(-80, 0, (n_frames, n_bins)).astype(np.float16)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, (n_frames, n_bins), endpoint=True).astype(dtype)


def write_small_store(
    path: Path,
    lengths: Mapping[Name, int],
    *,
    features: Features | None = None,
    dtype: str = "float16",
    n_bins: int = 6,
    scale: float = 1.0,
    offset: float = 0.0,
    frames_per_second: float = 10.0,
) -> dict[Name, NDArray[Any]]:
    """Write a store with so many frames of each clip and variant, in that order; return the stored frames."""
    stored = {name: random_frames(dtype, length, n_bins, seed) for seed, (name, length) in enumerate(lengths.items())}
    pieces = [
        Piece.in_memory(
            Row(clip, variant, "1:1", float(number), len(frames) / frames_per_second, len(frames), digest_of(frames)),
            frames,
            path,
        )
        for number, ((clip, variant), frames) in enumerate(stored.items())
    ]
    write_store(path, features or Features(), Coding(np.dtype(dtype), n_bins, frames_per_second, scale, offset), pieces)
    return stored


def memory_of(clips: Mapping[str, NDArray[Any]], *, kind: str = "logmel", copies: int = 0) -> Memory:
    """A memory on the CPU of these stored frames [n_frames, n_bins]; the last `copies` + 1 of them are one row."""
    names, parts = list(clips), [torch.from_numpy(frames) for frames in clips.values()]
    lengths = torch.tensor([len(part) for part in parts])
    first_entry = torch.tensor([*range(len(parts) - copies), len(parts)])
    return Memory(
        clips=names[: len(first_entry) - 1],
        frames=torch.cat(parts),
        offsets=lengths.cumsum(0) - lengths,
        lengths=lengths,
        first_entry=first_entry,
        device=torch.device("cpu"),
        remote=False,
        kind=kind,
        frames_per_second=10.0,
        scale=1.0,
        offset=0.0,
    )
