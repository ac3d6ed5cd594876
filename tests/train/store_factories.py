"""Small stores and frame banks of random frames for tests of training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from preprocess.store.schema import FrameEncoding
from preprocess.store.writer import write_store
from recipe import Features
from tests.row_sources import frames_digest, row_source_of
from train.data.frame_bank import FrameBank
from train.data.training_set import TrainingSet

LABELS = ["hum", "low, deep", "高い"]
ClipVariant = tuple[str, int]
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
    lengths: Mapping[ClipVariant, int],
    *,
    features: Features | None = None,
    dtype: str = "float16",
    n_bins: int = 6,
    scale: float = 1.0,
    offset: float = 0.0,
    frames_per_second: float = 10.0,
) -> dict[ClipVariant, NDArray[Any]]:
    """Write a store with so many frames of each clip and variant, in that order; return the stored frames."""
    stored = {name: random_frames(dtype, length, n_bins, seed) for seed, (name, length) in enumerate(lengths.items())}
    row_sources = [
        row_source_of(frames, path, clip, variant, start_s=float(number), duration_s=len(frames) / frames_per_second)
        for number, ((clip, variant), frames) in enumerate(stored.items())
    ]
    write_store(
        path,
        features or Features(),
        FrameEncoding(np.dtype(dtype), n_bins, frames_per_second, scale, offset),
        row_sources,
    )
    return stored


def make_frame_bank(
    clips: Mapping[str, NDArray[Any]], *, kind: str = "logmel", n_offline_variants: int = 0
) -> FrameBank:
    """A frame bank on the CPU of stored frames [n_frames, n_bins]; the last 1 + `n_offline_variants` are a row."""
    names, chunks = list(clips), [torch.from_numpy(frames) for frames in clips.values()]
    lengths = torch.tensor([len(chunk) for chunk in chunks])
    first_variant = torch.tensor([*range(len(chunks) - n_offline_variants), len(chunks)])
    return FrameBank(
        clips=names[: len(first_variant) - 1],
        digests=[frames_digest(chunk.numpy()) for chunk in chunks[: len(first_variant) - 1]],
        frames=torch.cat(chunks),
        offsets=lengths.cumsum(0) - lengths,
        lengths=lengths,
        first_variant=first_variant,
        start_s=torch.zeros(len(first_variant) - 1, dtype=torch.float64),
        duration_s=lengths[first_variant[:-1]] / 10.0,
        device=torch.device("cpu"),
        offloaded=False,
        from_file=False,
        kind=kind,
        frames_per_second=10.0,
        scale=1.0,
        offset=0.0,
    )


def make_training_set(truth: list[list[int]], noisy: list[bool]) -> TrainingSet:
    """Clips of silence in fold 0, with their targets [n_clips, n_labels]."""
    clips = {f"clip {row}": np.zeros((4, 2), np.float16) for row in range(len(truth))}
    return TrainingSet(
        frame_bank=make_frame_bank(clips),
        labels=LABELS,
        targets=torch.tensor(truth).float(),
        folds=np.zeros(len(truth), np.int64),
        noisy=torch.tensor(noisy),
        unlabelled=np.zeros(len(truth), bool),
        kept=np.ones(len(truth), bool),
    )
