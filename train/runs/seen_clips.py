"""Hashes of the clips a network was trained on, on which its scores are not out of fold."""

from collections.abc import Iterable, Sequence
from itertools import compress

import numpy as np
import torch
import xxhash
from torch import Tensor

NO_CLIPS = torch.empty(0, dtype=torch.int64)
"""Of checkpoints of earlier versions."""
NO_FRAMES = torch.empty(0, 2, dtype=torch.int64)


def hash_names(clips: Iterable[str]) -> Tensor:
    """int64 [n_clips]: a hash of each clip's name."""
    hashes = [xxhash.xxh3_64_intdigest(clip.encode("utf-8", "surrogateescape")) for clip in clips]
    return torch.tensor([each - (1 << 63) for each in hashes], dtype=torch.int64)


def hash_frames(clips: Iterable[str], digests: Iterable[str]) -> Tensor:
    """int64 [n_clips, 2]: hashes of each clip's name and of the digest of its frames."""
    return torch.stack([hash_names(clips), hash_names(digests)], 1)


def union(one: Tensor, other: Tensor) -> Tensor:
    """The hashes in either of two tensors."""
    return torch.cat([one, other]).unique()


def find_trained_clip(
    clips: Sequence[str], digests: Sequence[str], held_out: np.ndarray, seen_clips: Tensor, trained_frames: Tensor
) -> str | None:
    """The first of the `held_out` clips (boolean [n_clips]) that networks were trained on, under its name or another.

    Frames that a clip has which is not held out, as of copies, tell nothing, nor does '', of what could not be read.
    """
    elsewhere = {"", *compress(digests, ~held_out)}
    is_renamed = have_trained(digests, trained_frames) & [digest not in elsewhere for digest in digests]
    is_trained = torch.isin(hash_names(clips), seen_clips).numpy() | is_renamed
    return next(compress(clips, held_out & is_trained), None)


def find_replaced_clip(clips: Sequence[str], digests: Sequence[str], trained_frames: Tensor) -> str | None:
    """The first of `clips` that had other frames when a network was trained on it; digest '' tells nothing."""
    trained = dict(trained_frames.tolist())
    hashes = zip(clips, digests, hash_frames(clips, digests).tolist(), strict=True)
    return next(
        (clip for clip, digest, (name, frames) in hashes if digest and trained.get(name, frames) != frames), None
    )


def without_names(trained_frames: Tensor) -> Tensor:
    """The same frames with 0 in place of names, which in the run that a network started from may be of other clips."""
    frames = trained_frames[:, 1].unique()
    return torch.stack([torch.zeros_like(frames), frames], 1)


def have_trained(digests: Sequence[str], trained_frames: Tensor) -> np.ndarray:
    """Whether a network was trained on frames of each digest, by whatever name; boolean [n_clips]."""
    return torch.isin(hash_names(digests), trained_frames[:, 1]).numpy()
