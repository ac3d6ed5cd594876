"""Trimming against librosa, least lengths, and sound that is iterated over again."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from preprocess.audio import clip_audio
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import ClipAudio, extend_span, slice_blocks, take_samples
from preprocess.frames.framing import Samples
from recipe import Features

SAMPLE_RATE_HZ = 22_050


def features(**keys: float) -> Features:
    return Features(sample_rate_hz=SAMPLE_RATE_HZ, **keys)  # type: ignore[arg-type]


@pytest.fixture
def burst(tmp_path: Path) -> tuple[Path, Samples]:
    """Two seconds, silent but for a burst of noise that fades."""
    sound = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    fade = np.exp(-np.arange(15_000) / 2_000)
    sound[9_000:24_000] = 0.3 * np.random.default_rng(0).standard_normal(15_000) * fade
    soundfile.write(tmp_path / "burst.wav", sound, SAMPLE_RATE_HZ, subtype="FLOAT")
    return tmp_path / "burst.wav", sound


@pytest.mark.parametrize("top_db", [20.0, 60.0, 120.0])
def test_silence_is_trimmed_as_librosa_does(burst: tuple[Path, Samples], top_db: float) -> None:
    path, sound = burst
    recording = ClipAudio(str(path), features(trim_top_db=top_db))
    theirs, (start, _) = librosa.effects.trim(sound, top_db=top_db)
    np.testing.assert_array_equal(np.concatenate(list(recording)), theirs)
    assert recording.start_s == start / SAMPLE_RATE_HZ
    assert recording.duration_s == 2.0


def test_silence_alone_is_kept_as_librosa_does(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "zeros.wav", np.zeros(5_000), SAMPLE_RATE_HZ)
    assert sum(map(len, ClipAudio(str(tmp_path / "zeros.wav"), features(trim_top_db=60.0)))) == 5_000


def test_a_least_length_is_taken_from_around_the_sound(burst: tuple[Path, Samples]) -> None:
    path, sound = burst
    recording = ClipAudio(str(path), features(trim_top_db=20.0, min_seconds=1.5))
    kept = np.concatenate(list(recording))
    start = round(recording.start_s * SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(kept, sound[start : start + round(1.5 * SAMPLE_RATE_HZ)])


def test_a_shorter_recording_gets_silence_at_both_ends(burst: tuple[Path, Samples]) -> None:
    path, sound = burst
    recording = ClipAudio(str(path), features(min_seconds=3.0))
    np.testing.assert_array_equal(np.concatenate(list(recording)), np.pad(sound, SAMPLE_RATE_HZ // 2))
    assert recording.start_s == -0.5
    assert recording.duration_s == 2.0


@pytest.mark.parametrize(
    ("span", "min_samples", "extended"),
    [
        (range(10, 20), 5, range(10, 20)),
        (range(10, 20), 20, range(5, 25)),
        (range(2, 6), 20, range(0, 20)),
        (range(95, 99), 20, range(80, 100)),
        (range(0, 100), 130, range(-15, 115)),
    ],
)
def test_spans_extend_within_the_recording_first(span: range, min_samples: int, extended: range) -> None:
    assert extend_span(span, 100, min_samples) == extended


def test_spans_cut_across_blocks() -> None:
    sound = np.arange(10, dtype=np.float32)
    for start in range(-3, 9):
        for stop in range(max(1, start + 1), 13):
            got = np.concatenate(list(slice_blocks([sound[:4], sound[4:5], sound[5:]], range(start, stop))))
            expected = np.pad(sound, 3)[start + 3 : stop + 3]
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("n_samples", "n_blocks"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (20, 4)])
def test_a_beginning_is_so_many_samples_and_asks_for_no_more_blocks(n_samples: int, n_blocks: int) -> None:
    sound = np.arange(10, dtype=np.float32)
    blocks = iter([sound[:3], sound[3:6], sound[6:9], sound[9:]])
    np.testing.assert_array_equal(np.concatenate(list(take_samples(blocks, n_samples))), sound[:n_samples])
    assert len(list(blocks)) == 4 - n_blocks


@pytest.mark.parametrize("max_bytes", [0, 400])
def test_sound_is_iterated_again_cached_or_made_anew(monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> None:
    monkeypatch.setattr(clip_audio, "MAX_CACHED_BYTES", max_bytes)
    made = []

    def make(*_: object) -> list[Samples]:
        made.append(True)
        return [np.ones(30, np.float32), np.zeros(30, np.float32)]

    monkeypatch.setattr(clip_audio, "decode_blocks", make)
    sound = ClipAudio("a.wav", features())
    next(iter(sound))
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(sound)), np.repeat([1, 0], 30))
    assert len(made) == (2 if max_bytes else 3)


def test_cached_sound_shows_that_the_task_has_not_hung(
    burst: tuple[Path, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preprocess.audio.decode.BLOCK_VALUES", SAMPLE_RATE_HZ)
    sound, reports = ClipAudio(str(burst[0]), features()), list[bool]()
    n_blocks = len(list(sound))
    monkeypatch.setattr(clip_audio, "report_progress", lambda: reports.append(True))
    list(sound)
    assert len(reports) == n_blocks


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="No such file"):
        list(ClipAudio(str(tmp_path / "none.wav"), features(trim_top_db=60.0)))
