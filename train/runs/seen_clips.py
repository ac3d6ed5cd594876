"""Hashes of the clips a network was trained on, on which its scores are not out of fold."""

from collections.abc import Iterable, Sequence

import torch
import xxhash
from torch import Tensor

NO_CLIPS = torch.empty(0, dtype=torch.int64)
"""Of checkpoints of earlier versions."""


def hash_names(clips: Iterable[str]) -> Tensor:
    """int64 [n_clips]: a hash of each clip's name."""
    hashes = [xxhash.xxh3_64_intdigest(clip.encode("utf-8", "surrogateescape")) for clip in clips]
    return torch.tensor([each - (1 << 63) for each in hashes], dtype=torch.int64)


def union(one: Tensor, other: Tensor) -> Tensor:
    """The hashes in either of two tensors."""
    return torch.cat([one, other]).unique()


def find_seen_clip(clips: Sequence[str], seen_clips: Tensor) -> str | None:
    """The first of `clips` whose hash is among `seen_clips`."""
    is_seen = torch.isin(hash_names(clips), seen_clips).nonzero()
    return clips[int(is_seen[0])] if len(is_seen) else None
