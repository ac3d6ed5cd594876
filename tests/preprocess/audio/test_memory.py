"""The memory of decoding, which is bounded whatever the rates and channels."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.sandbox import SandboxLimits, cancel_sandboxes
from preprocess.audio.blocks import BLOCK_VALUES
from preprocess.audio.isolated import read_isolated
from tests.preprocess.audio.read_tasks import measure_decoding

MAX_MIB = 64
LIMITS = SandboxLimits(max_memory_bytes=1 << 30)


@pytest.mark.parametrize(
    ("source_hz", "target_hz", "n_channels", "form"),
    [
        (100, 44_100, 1, "WAV"),
        (100, 384_000, 2, "WAV"),
        (768_000, 1_000, 1, "WAV"),
        (16_000, 44_100, 256, "WAV"),
        (1_000, 96_000, 1, "FLAC"),
        (44_100, 1_000, 8, "FLAC"),
    ],
)
def test_memory_is_bounded(tmp_path: Path, source_hz: int, target_hz: int, n_channels: int, form: str) -> None:
    n_samples = max(1_000, min(400_000 // n_channels, 12_000_000 * source_hz // target_hz))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (n_samples, n_channels))
    soundfile.write(tmp_path / "sound", noise, source_hz, format=form)
    with cancel_sandboxes():  # so that a new process measures
        pass
    arguments = (str(tmp_path / "sound"), target_hz)
    ((n_read, n_most, mib),) = read_isolated(measure_decoding, *arguments, limits=LIMITS)
    assert n_read == pytest.approx(n_samples * target_hz / source_hz, abs=target_hz / source_hz + 1)
    assert n_most <= 16 * BLOCK_VALUES  # soxr hands some blocks out together
    assert mib < MAX_MIB
