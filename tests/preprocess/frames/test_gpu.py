"""Log-mel by torch against log-mel by numpy: on the CPU's tensors, and on a GPU where there is one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import UserError
from preprocess.frames.gpu import GpuLogMel
from preprocess.frames.kinds import build_transform, compute_frames
from preprocess.store.shards import read_shard, write_shard
from recipe import Features

FEATURES = [
    Features(),
    Features(
        sample_rate_hz=16_000, n_fft=513, hop_length=1_000, n_bins=32, mel_scale="htk", fmax_hz=7_000.0, center=False
    ),
]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("features", FEATURES, ids=["default", "htk"])
def test_torchs_frames_are_numpys(features: Features, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    time = np.arange(100_000) / features.sample_rate_hz
    noise = np.random.default_rng(0).standard_normal(len(time)) * 1e-4
    sound = (noise + 0.3 * np.sin(2 * np.pi * 500 * time * (1 + time))).astype(np.float32)
    frames = list(GpuLogMel(features, device)([sound[:77], sound[77:]]))
    np.testing.assert_allclose(np.concatenate(frames), compute_frames(sound, features), atol=1e-2)


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_torchs_frames_are_written(tmp_path: Path, storage: Any) -> None:
    features = Features(storage=storage)
    with write_shard(tmp_path / "0.shard", features) as shard:
        for frames in GpuLogMel(features, "cpu")([np.ones(50_000, np.float32)]):
            shard.add(frames)
        shard.end_row("a", 0, "1:1", 0.0, 1.0)
    assert read_shard(tmp_path / "0.shard", features) == (shard.rows, set())


def test_other_kinds_are_refused() -> None:
    with pytest.raises(UserError, match=r"features\.kind = stft: only logmel"):
        build_transform(Features(kind="stft"), "cuda")
