"""The frames of a recording in blocks, against what a store holds of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from preprocess.audio.blocks import DecodeError
from preprocess.build import frame_stream
from preprocess.build.frame_stream import RecordingEnd, stream_frames
from preprocess.build.shard_task import ClipJob, append_clip
from preprocess.frames import compute_frames, get_transform
from preprocess.frames.dynamic_range import TOP_DB_REACH_S
from preprocess.store.encoding import encoding_for
from preprocess.store.schema import EncodedFrames
from recipe import Features

FEATURES = Features(sample_rate_hz=8_000, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0)
KINDS: list[dict[str, Any]] = [
    {},
    {"top_db": 30.0},
    {"top_db": 30.0, "storage": "uint8"},
    {"trim_top_db": 20.0, "top_db": 30.0},
    {"min_seconds": 5.0},
    {"kind": "stft", "n_bins": 129},
    {"kind": "waveform", "n_bins": 1, "storage": "int16"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three seconds that fall silent."""
    random = np.random.default_rng(0)
    samples = random.standard_normal(24_000) * np.linspace(0.7, 0, 24_000) ** 4
    soundfile.write(tmp_path / "sound.wav", samples, 8_000, subtype="FLOAT")
    return tmp_path / "sound.wav"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of three seconds."""
    monkeypatch.setattr("preprocess.audio.decode.BLOCK_VALUES", 1 << 11)
    monkeypatch.setattr("preprocess.frames.framing.BATCH_VALUES", 1 << 12)
    monkeypatch.setattr(frame_stream, "BLOCK_VALUES", 1 << 9)


def read_stream(path: Path, features: Features, max_duration_s: float = np.inf) -> tuple[EncodedFrames, RecordingEnd]:
    """The blocks joined, and what comes at their end."""
    *blocks, end = stream_frames(str(path), features, max_duration_s)
    assert isinstance(end, RecordingEnd)
    assert not any(isinstance(block, RecordingEnd) for block in blocks)
    return np.concatenate(blocks), end  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", KINDS, ids=str)
def test_blocks_joined_are_what_a_store_holds(
    path: Path, tmp_path: Path, keys: dict[str, Any], small_blocks: None
) -> None:
    features = replace(FEATURES, **keys)
    shard, encoding = tmp_path / "one.shard", encoding_for(features)
    shard.touch()
    (row,), duration_s = append_clip(ClipJob("clip", str(path)), str(shard), 0, features)
    stored = np.fromfile(shard, encoding.dtype).reshape(row.n_frames, encoding.n_bins)
    frames, end = read_stream(path, features)
    assert frames.dtype == encoding.dtype
    np.testing.assert_array_equal(frames, stored)
    assert end == RecordingEnd(row.start_s, duration_s)


def test_blocks_are_of_about_one_size(path: Path, small_blocks: None) -> None:
    *blocks, _ = stream_frames(str(path), FEATURES)
    sizes = [block.size for block in blocks if not isinstance(block, RecordingEnd)]
    assert len(sizes) > 3
    assert all(1 << 9 <= size <= (1 << 9) + (1 << 12) for size in sizes[:-1])


def test_frames_are_raised_to_the_floor_below_the_recording_s_highest(path: Path, small_blocks: None) -> None:
    plain = read_stream(path, FEATURES)[0].astype(np.float32)
    frames, end = read_stream(path, replace(FEATURES, top_db=30.0))
    assert end == RecordingEnd(0.0, 3.0)
    expected = np.maximum(plain, plain.max() - 30)
    assert (expected > plain).mean() > 0.2
    np.testing.assert_allclose(frames.astype(np.float32), expected, atol=0.05)


def test_a_slammed_door_changes_the_frames_around_it_alone(tmp_path: Path) -> None:
    """In a recording of three minutes, as it is stored and as it is predicted."""
    features = replace(FEATURES, top_db=30.0)
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(180 * 8_000).astype(np.float32)
    slammed = quiet.copy()
    slammed[100 * 8_000 : 100 * 8_000 + 400] *= 900
    stored = []
    for name, sound in (("quiet", quiet), ("slammed", slammed)):
        path, shard = tmp_path / f"{name}.wav", tmp_path / f"{name}.shard"
        soundfile.write(path, sound, 8_000, subtype="FLOAT")
        shard.touch()
        append_clip(ClipJob(name, str(path)), str(shard), 0, features)
        stored.append(np.fromfile(shard, np.float16).reshape(-1, 24))
        np.testing.assert_array_equal(read_stream(path, features)[0], stored[-1])
    changed_s = np.flatnonzero((stored[0] != stored[1]).any(1)) / 80
    assert changed_s.min() == pytest.approx(100 - TOP_DB_REACH_S, abs=0.1)
    assert changed_s.max() == pytest.approx(100 + TOP_DB_REACH_S, abs=0.1)


def test_frames_are_those_of_the_sound(path: Path) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(read_stream(path, FEATURES)[0], compute_frames(samples, FEATURES), atol=0.05)


def test_frames_begin_where_the_sound_does(tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(16_000), np.random.default_rng(0).uniform(-0.5, 0.5, 8_000), np.zeros(8_000)])
    soundfile.write(tmp_path / "sound.wav", sound, 8_000)
    _, end = read_stream(tmp_path / "sound.wav", replace(FEATURES, trim_top_db=40.0))
    assert end.start_s == pytest.approx(2.0, abs=0.1)
    assert end.duration_s == 4.0
    _, end = read_stream(tmp_path / "sound.wav", replace(FEATURES, min_seconds=5.0))
    assert -1 <= end.start_s <= 0
    assert end.duration_s == 4.0


@pytest.mark.parametrize("top_db", [None, 40.0])
def test_recordings_longer_than_allowed_are_refused(path: Path, top_db: float | None, small_blocks: None) -> None:
    features = replace(FEATURES, top_db=top_db, trim_top_db=top_db)
    assert read_stream(path, features, 3.0)[1].duration_s == 3.0
    with pytest.raises(DecodeError, match=r"it is longer than 0\.0"):
        read_stream(path, features, 2.99)


def test_a_recording_that_is_too_long_is_not_read_to_its_end(path: Path, small_blocks: None) -> None:
    with pytest.raises(DecodeError, match="it is longer than"):
        next(stream_frames(str(path), replace(FEATURES, trim_top_db=40.0), 1.0))
    n_frames = 0
    with pytest.raises(DecodeError, match="it is longer than"):
        for block in stream_frames(str(path), FEATURES, 2.0):
            n_frames += 0 if isinstance(block, RecordingEnd) else len(block)
    assert n_frames <= 2 * 80


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    for content, reason in ((b"RIFF and no more", "."), (b"", "the file is empty")):
        (tmp_path / "broken.wav").write_bytes(content)
        with pytest.raises(DecodeError, match=reason) as refused:
            read_stream(tmp_path / "broken.wav", FEATURES)
        assert refused.value.path == tmp_path / "broken.wav"


def test_a_transform_is_made_once() -> None:
    first = get_transform(FEATURES)
    assert get_transform(replace(FEATURES)) is first
    assert get_transform(replace(FEATURES, top_db=10.0)) is not first
