"""What is measured of a recording, against sound whose measures are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from preprocess.audio.blocks import DecodeError
from preprocess.statistics.measure import (
    FLOOR_DB,
    MIN_CLIPPED_RUN,
    AudioMeter,
    AudioStats,
    Header,
    measure_recording,
)


def measure(*blocks: np.ndarray, sample_rate_hz: int = 1000) -> AudioStats:
    meter = AudioMeter(Header(sample_rate_hz, 1, ""))
    for block in blocks:
        meter.add(block.astype(np.float32))
    return meter.stats()


def stats(path: Path) -> AudioStats:
    return measure_recording(str(path))


def tone(n_samples: int, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(np.arange(n_samples) * 0.3)


def test_a_tone_and_silence_are_measured(tmp_path: Path) -> None:
    sound = np.concatenate([tone(24_000), np.zeros(8_000)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000, subtype="FLOAT")
    one = stats(tmp_path / "a.wav")
    assert (one.sample_rate_hz, one.n_channels, one.format, one.duration_s) == (16_000, 1, "WAV FLOAT", 2.0)
    assert one.rms_db == pytest.approx(10 * np.log10(np.mean(sound**2)), abs=1e-3)
    assert one.peak == pytest.approx(0.5, abs=1e-4)
    assert one.silent_share == pytest.approx(0.25)
    assert one.clipped_share == 0


def test_clipping_is_a_run_at_full_scale_and_not_a_peak() -> None:
    assert measure(tone(1000, 1.0)).clipped_share == 0
    assert measure(np.clip(tone(1000, 2.0), -1, 1)).clipped_share > 0.3
    assert measure(np.array([0, 1, 1, 0, -1, -1, 1, 0])).clipped_share == 3 / 8


def longest_way(sound: np.ndarray) -> int:
    """Samples in runs at full scale, one by one."""
    total = run = 0
    for value in [*sound, 0]:
        if abs(value) == 1:
            run += 1
        else:
            total += run if run >= MIN_CLIPPED_RUN else 0
            run = 0
    return total


@given(
    values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0, -1.0]), max_size=300),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
def test_borders_of_blocks_leave_no_trace(values: list[float], cuts: list[int]) -> None:
    sound = np.array(values)
    whole, cut = measure(sound), measure(*np.split(sound, sorted(min(at, len(sound)) for at in cuts)))
    assert replace(cut, rms_db=0) == replace(whole, rms_db=0)
    assert cut.rms_db == pytest.approx(whole.rms_db)  # a sum in another order
    assert round(whole.clipped_share * max(len(sound), 1)) == longest_way(sound)


def test_one_sound_in_two_formats_has_one_digest(tmp_path: Path) -> None:
    sound = np.round(tone(8_000) * 32767) / 32768
    soundfile.write(tmp_path / "a.wav", sound, 8_000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.flac", sound, 8_000)
    soundfile.write(tmp_path / "c.aiff", np.stack([sound, sound], axis=1), 8_000)
    soundfile.write(tmp_path / "d.wav", sound * 0.99, 8_000)
    a, b, c, d = (stats(tmp_path / name).digest for name in ("a.wav", "b.flac", "c.aiff", "d.wav"))
    assert a == b == c != d
    assert stats(tmp_path / "c.aiff").n_channels == 2


def test_one_tone_at_two_rates_is_no_duplicate() -> None:
    assert measure(tone(800)).digest != measure(tone(800), sample_rate_hz=8_000).digest


def test_sound_below_16_bits_is_no_duplicate() -> None:
    assert measure(np.full(800, 1e-6)).digest == ""


def test_nothing_but_zeros_is_silent_and_no_duplicate() -> None:
    one = measure(np.zeros(1234))
    assert (one.rms_db, one.silent_share, one.digest) == (FLOOR_DB, 1.0, "")


@pytest.mark.parametrize(
    ("content", "word"), [(None, "No such file"), (b"", "empty"), (b"<html>not found</html>" * 9, "neither")]
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, word: str) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DecodeError, match=word):
        stats(tmp_path / "a.wav")


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(DecodeError):
        stats(tmp_path)


def test_odd_files_are_measured_or_say_why(real_sound: Callable[[str], Path]) -> None:
    measured: dict[str, AudioStats] = {}
    for path in sorted(real_sound("odd_audio").iterdir()):
        try:
            measured[path.name] = stats(path)
        except DecodeError as error:
            assert error.reason
    webm = measured["test5.webm"]
    assert (webm.sample_rate_hz, webm.n_channels, webm.format) == (48_000, 2, "matroska,webm opus")
