"""What a process that hears recordings says of them, against the features' own way."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile

from predict.decoding import decoder_process
from predict.decoding.messages import DecodingFailed, DecodingFinished
from preprocess.frames.kinds import build_transform, compute_frames
from recipe import Features

SAMPLE_RATE_HZ = 8_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three seconds that fall silent."""
    random = np.random.default_rng(0)
    samples = random.standard_normal(3 * SAMPLE_RATE_HZ) * np.linspace(0.3, 0, 3 * SAMPLE_RATE_HZ) ** 4
    soundfile.write(tmp_path / "sound.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    return tmp_path / "sound.wav"


def decode_messages(path: Path, **changed: Any) -> list[Any]:
    features = Features(sample_rate_hz=SAMPLE_RATE_HZ, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0, **changed)
    return list(decoder_process.decode_to_frames(str(path), features, build_transform(features)))


@pytest.mark.parametrize("kept", [0, decoder_process.MAX_BUFFERED_BYTES])
def test_frames_are_raised_to_the_floor_below_the_recording_s_highest(path: Path, kept: int) -> None:
    with patch.object(decoder_process, "MAX_BUFFERED_BYTES", kept):
        *blocks, end = decode_messages(path, top_db=30.0)
    assert end == DecodingFinished(0.0, 3.0)
    plain = np.concatenate(decode_messages(path)[:-1]).astype(np.float32)
    expected = np.maximum(plain, plain.max() - 30)
    assert (expected > plain).mean() > 0.2
    np.testing.assert_allclose(np.concatenate(blocks).astype(np.float32), expected, atol=0.05)


def test_blocks_joined_are_the_frames_of_the_sound(path: Path) -> None:
    *blocks, _ = decode_messages(path)
    samples, _ = soundfile.read(path, dtype="float32")
    features = Features(sample_rate_hz=SAMPLE_RATE_HZ, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0)
    np.testing.assert_allclose(np.concatenate(blocks), compute_frames(samples, features), atol=0.05)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    (failed,) = decode_messages(tmp_path / "broken.wav")
    assert isinstance(failed, DecodingFailed)
    assert failed.reason
