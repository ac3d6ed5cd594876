"""A feature store of random clips, for benchmarks that need no sound."""

from pathlib import Path

import numpy as np

from preprocess.store.schema import FrameEncoding
from preprocess.store.writer import write_store
from recipe import Features
from tests.row_sources import row_source_of

CLIP_SECONDS = (0.5, 10.0)
MEAN_DB, STD_DB = -50.0, 10.0


def write_random_store(path: Path, features: Features, n_clips: int) -> list[str]:
    """A store of random clips in dB, of random lengths; returns their names."""
    random, frames_per_second = np.random.default_rng(0), features.sample_rate_hz / features.hop_length
    max_frames = round(CLIP_SECONDS[1] * frames_per_second)
    pool = random.normal(MEAN_DB, STD_DB, (max_frames + 1000, features.n_bins)).astype(np.float16)
    row_sources = []
    for number in range(n_clips):
        seconds, start = random.uniform(*CLIP_SECONDS), int(random.integers(1000))
        frames = pool[start : start + max(round(seconds * frames_per_second), 1)]
        row_sources.append(row_source_of(frames, path, str(number), duration_s=seconds))
    write_store(path, features, FrameEncoding(np.dtype(np.float16), features.n_bins, frames_per_second), row_sources)
    return [str(number) for number in range(n_clips)]
