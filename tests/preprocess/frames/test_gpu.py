"""Log-mel by torch against log-mel by numpy: on the CPU's tensors, and on a GPU where there is one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import BadInput
from preprocess.frames.gpu import GpuLogMel
from preprocess.frames.kinds import build_transform, frames_of
from preprocess.store.shards import read_part, written_part
from recipe import Features

FEATURES = [
    Features(),
    Features(rate_hz=16_000, n_fft=513, hop_samples=1_000, n_bins=32, mel_scale="htk", fmax_hz=7_000.0, centre=False),
]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("features", FEATURES, ids=["default", "htk"])
def test_torchs_frames_are_numpys(features: Features, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    time = np.arange(100_000) / features.rate_hz
    noise = np.random.default_rng(0).standard_normal(len(time)) * 1e-4
    sound = (noise + 0.3 * np.sin(2 * np.pi * 500 * time * (1 + time))).astype(np.float32)
    frames = list(GpuLogMel(features, device)([sound[:77], sound[77:]]))
    np.testing.assert_allclose(np.concatenate(frames), frames_of(sound, features), atol=1e-2)


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_torchs_frames_are_written(tmp_path: Path, storage: Any) -> None:
    features = Features(storage=storage)
    with written_part(tmp_path / "0.part", features) as part:
        for frames in GpuLogMel(features, "cpu")([np.ones(50_000, np.float32)]):
            part.add(frames)
        part.end_row("a", 0, "1:1", 0.0, 1.0)
    assert read_part(tmp_path / "0.part", features) == (part.rows, set())


def test_other_kinds_are_refused() -> None:
    with pytest.raises(BadInput, match=r"features\.kind = stft: only logmel"):
        build_transform(Features(kind="stft"), "cuda")
