"""Which clips a network has learnt from, kept with it: a score on one of them is not out of fold."""

from collections.abc import Iterable, Sequence

import torch
import xxhash
from torch import Tensor

NOTHING = torch.empty(0, dtype=torch.int64)
"""Of a network that does not say: one of an earlier version."""


def marks_of(clips: Iterable[str]) -> Tensor:
    """int64 [n_clips]: a hash of each clip's name."""
    hashes = [xxhash.xxh3_64_intdigest(clip.encode("utf-8", "surrogateescape")) for clip in clips]
    return torch.tensor([each - (1 << 63) for each in hashes], dtype=torch.int64)


def both(one: Tensor, other: Tensor) -> Tensor:
    """The marks in either of two tensors."""
    return torch.cat([one, other]).unique()


def first_learnt(clips: Sequence[str], learnt: Tensor) -> str | None:
    """The first of `clips` that is among the marks of what was learnt from."""
    seen = torch.isin(marks_of(clips), learnt).nonzero()
    return clips[int(seen[0])] if len(seen) else None
