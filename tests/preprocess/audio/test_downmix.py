"""One channel of several: their mean, or the chosen one; channels that cancel each other out."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.downmix import Downmix
from tests.audio_files import encode_with_pyav

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 3)).astype(np.float32)


def write(folder: Path, sound: np.ndarray, form: str = "WAV") -> Path:
    path = folder / "sound"
    if form == "mka":
        path.write_bytes(encode_with_pyav("matroska", "flac", sound))
    else:
        soundfile.write(path, sound, 48_000, format=form)
    return path


@pytest.mark.parametrize("form", ["WAV", "FLAC", "mka"])
@pytest.mark.parametrize(("channel", "index"), [("left", 0), ("right", 1), (0, 0), (1, 1)])
def test_a_channel_can_be_chosen(tmp_path: Path, form: str, channel: str | int, index: int) -> None:
    path = write(tmp_path, NOISE[:, :2], form)
    got = np.concatenate(list(decode_blocks(path, 48_000, channel)))
    np.testing.assert_allclose(got, NOISE[:, index], atol=1e-4)


def test_a_recording_of_one_channel_is_left_and_right(tmp_path: Path) -> None:
    path = write(tmp_path, NOISE[:, 0])
    for channel in ("mean", "left", "right", 0):
        got = np.concatenate(list(decode_blocks(path, 48_000, channel)))
        np.testing.assert_allclose(got, NOISE[:, 0], atol=1e-4)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_channel_that_is_not_there_is_refused(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, NOISE, form)
    with pytest.raises(DecodeError, match=r"no channel 3 \(features.channel\).*3 from 0 on"):
        list(decode_blocks(path, 48_000, 3))


@pytest.mark.parametrize("form", ["WAV", "FLAC", "mka"])
@pytest.mark.parametrize(("leak", "warns"), [(0.0, True), (0.05, True), (0.5, False), (2.0, False)])
def test_opposite_phase_is_told(tmp_path: Path, form: str, leak: float, warns: bool) -> None:
    left = 0.3 * NOISE[:, 0]
    warnings: list[str] = []
    list(decode_blocks(write(tmp_path, np.stack([left, (leak - 1) * left], axis=1), form), 48_000, warnings=warnings))
    assert bool(warnings) == warns
    if warns:
        assert "opposite phase" in warnings[0]
        assert "features.channel" in warnings[0]


def test_many_independent_channels_and_silence_are_no_opposites() -> None:
    many = np.random.default_rng(0).uniform(-0.5, 0.5, (64, 10_000)).astype(np.float32)
    for block in (many, np.zeros((2, 100), np.float32), np.stack([many[0], 0 * many[0]])):
        downmix = Downmix()
        downmix(block)
        assert not downmix.warnings()
