"""Decoding against soundfile and soxr at once, and what is refused."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr

from preprocess.audio import decode as module
from preprocess.audio import decode_ffmpeg, decode_soundfile
from preprocess.audio.blocks import BLOCK_VALUES, Block, DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.decode_ffmpeg import _planes, read_ffmpeg_header
from preprocess.audio.downmix import Downmix
from preprocess.frames.framing import Samples

SAMPLE_RATE_HZ = 16_000
SUBTYPES = [
    (form, sub)
    for form in ("WAV", "AIFF", "FLAC", "CAF", "W64", "AU", "RF64")
    for sub in soundfile.available_subtypes(form)
]
NOT_WRITTEN = ("G721", "G723", "NMS_ADPCM", "GSM610", "DWVW", "DPCM", "ALAC", "VOX", "MPEG")


def decode(path: Path, sample_rate_hz: int) -> Samples:
    return np.concatenate(list(decode_blocks(path, sample_rate_hz)))


def tone(seconds: float = 0.5, n_channels: int = 1) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.stack([0.3 * np.sin(2 * np.pi * 300 * (1 + channel) * time) for channel in range(n_channels)], axis=1)


def write_with_pyav(path: Path, form: str, codec: str) -> Samples:
    """A second of a tone at 48 kHz, by PyAV's encoders; returns what was to be encoded."""
    sound = (0.3 * np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000)).astype(np.float32)
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 96_000
        for start in range(0, len(sound), 960):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 960], "fltp", "mono")
            frame.sample_rate = 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return sound


@pytest.mark.parametrize(("form", "subtype"), [pair for pair in SUBTYPES if not pair[1].startswith(NOT_WRITTEN)])
def test_every_subtype_is_read(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "sound.bin"
    soundfile.write(path, tone(n_channels=2), SAMPLE_RATE_HZ, format=form, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(decode(path, SAMPLE_RATE_HZ), expected.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "AIFF"])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_16_bits_are_what_soundfile_reads_as_floats_to_the_bit(tmp_path: Path, form: str, n_channels: int) -> None:
    every = np.arange(-(1 << 15), 1 << 15).astype(np.int16)
    channels = np.stack([every, np.random.default_rng(0).permutation(every)], axis=1)[:, :n_channels]
    soundfile.write(tmp_path / "sound.bin", channels, SAMPLE_RATE_HZ, format=form, subtype="PCM_16")
    expected, _ = soundfile.read(tmp_path / "sound.bin", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(decode(tmp_path / "sound.bin", SAMPLE_RATE_HZ), expected.mean(axis=1))


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_sound_is_what_soundfile_reads(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "wrong.flac"
    sample_rate_hz = 48_000 if subtype == "OPUS" else SAMPLE_RATE_HZ  # Opus is decoded at this rate
    soundfile.write(path, tone(2), sample_rate_hz, format=form, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(decode(path, sample_rate_hz), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "codec"),
    [("webm", "libopus"), ("ipod", "aac"), ("adts", "aac"), ("asf", "wmav2"), ("matroska", "pcm_s16le")],
)
def test_what_soundfile_refuses_pyav_reads(tmp_path: Path, form: str, codec: str) -> None:
    path = tmp_path / "sound.wav"
    sound = write_with_pyav(path, form, codec)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(path)
    got = decode(path, 48_000)
    assert len(got) == pytest.approx(len(sound), abs=4096)  # codecs add a frame or two
    spectrum = np.abs(np.fft.rfft(got[8_000:40_000] * np.hanning(32_000)))
    assert np.argmax(spectrum) * 1.5 == pytest.approx(300, abs=2)
    assert np.sqrt(np.mean(got[8_000:40_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize(
    ("layout", "n_channels"), [("mono", 1), ("stereo", 2), ("5.1", 6), ("7.1", 8), ("16 channels", 16)]
)
@pytest.mark.parametrize("form", ["u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "fltp"])
def test_pyav_frames_are_averaged_at_full_scale_1(form: str, layout: str, n_channels: int) -> None:
    resampler = av.AudioResampler(format=form, layout=layout, rate=SAMPLE_RATE_HZ)
    sound = tone(0.1, n_channels).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "flt", layout)
    frame.sample_rate = SAMPLE_RATE_HZ
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    got = np.concatenate([Downmix()(*_planes(one)) for one in frames])
    np.testing.assert_allclose(got, sound.mean(axis=1), atol=0.006 if "8" in form else 1e-4)


@pytest.mark.parametrize("sample_rate_hz", [8_000, 22_050, 44_100])
@pytest.mark.parametrize("block_values", [1_000, 1 << 18])
def test_blocks_resample_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample_rate_hz: int, block_values: int
) -> None:
    monkeypatch.setattr(decode_soundfile, "BLOCK_VALUES", block_values)
    monkeypatch.setattr(module, "BLOCK_VALUES", block_values)
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 30_001).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", sound, SAMPLE_RATE_HZ, subtype="FLOAT")
    got = np.concatenate(list(decode_blocks(tmp_path / "noise.wav", sample_rate_hz)))
    np.testing.assert_allclose(got, soxr.resample(sound, SAMPLE_RATE_HZ, sample_rate_hz), atol=2e-6)


def test_32_channels_are_averaged_in_bounded_blocks(tmp_path: Path) -> None:
    sound = np.tile(tone(3), (1, 32)) * np.linspace(0, 2, 32)
    soundfile.write(tmp_path / "many.wav", sound, SAMPLE_RATE_HZ, subtype="FLOAT")
    blocks = list(decode_blocks(tmp_path / "many.wav", SAMPLE_RATE_HZ))
    assert max(map(len, blocks)) <= BLOCK_VALUES // 32
    np.testing.assert_allclose(np.concatenate(blocks), tone(3)[:, 0], atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    sound = tone()[:, 0]
    sound[5_000] = value
    soundfile.write(tmp_path / "odd.wav", sound, SAMPLE_RATE_HZ, subtype="FLOAT")
    with pytest.raises(DecodeError, match=r"odd\.wav: samples that are not numbers") as caught:
        decode(tmp_path / "odd.wav", SAMPLE_RATE_HZ)
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.wav", b"", "empty"),
        ("page.wav", b"<!DOCTYPE html><html><body>404</body></html>", "neither soundfile nor PyAV"),
        ("noise.mp3", bytes(range(256)) * 40, "neither soundfile nor PyAV|there are no samples|there is no sound"),
        (
            "list.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
            "neither|no samples",
        ),
        ("list.wav", b"ffconcat version 1.0\nfile 'other.wav'\n", "neither soundfile nor PyAV"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    soundfile.write(tmp_path / "other.wav", tone(), SAMPLE_RATE_HZ)  # what the playlists name, and must not be read
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(tmp_path / name, SAMPLE_RATE_HZ)
    assert caught.value.path == tmp_path / name
    assert "\n" not in str(caught.value)


def test_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    content = b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x99\x99\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\x08\0\0\0" + bytes(8)
    (tmp_path / "odd.wav").write_bytes(content)
    with pytest.raises(DecodeError, match="neither soundfile nor PyAV can read it"):
        decode(tmp_path / "odd.wav", SAMPLE_RATE_HZ)
    assert read_ffmpeg_header(str(tmp_path / "odd.wav")) is None


def test_samples_that_pyav_cannot_hand_over_are_refused(tmp_path: Path) -> None:
    write_with_pyav(tmp_path / "s64.wav", "wav", "pcm_s64le")
    with pytest.raises(DecodeError, match=r"s64\.wav: its samples are of a type that cannot be read \(s64\)"):
        decode(tmp_path / "s64.wav", SAMPLE_RATE_HZ)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    for name in ("none.wav", "loop.wav", "pipe.wav", "."):
        with pytest.raises(DecodeError) as caught:
            decode(tmp_path / name, SAMPLE_RATE_HZ)
        assert caught.value.transient


@pytest.mark.parametrize("form", ["WAV", "FLAC", "matroska"])
def test_a_disk_that_fails_is_no_end_of_the_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Of the file that is open, reads fail from the first block on."""
    path = tmp_path / "sound.wav"
    if form == "matroska":
        write_with_pyav(path, form, "pcm_s16le")
    else:
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 200_000), 48_000, format=form)
    for each in (decode_soundfile, decode_ffmpeg):
        monkeypatch.setattr(each, "BLOCK_VALUES", 1 << 12)
    files, original = list[module._ErrorRecordingFile](), module._decode_native

    def noted(file: module._ErrorRecordingFile, downmix: Downmix, warnings: list[str]) -> Iterator[Block]:
        files.append(file)
        return original(file, downmix, warnings)

    monkeypatch.setattr(module, "_decode_native", noted)
    blocks = decode_blocks(path, 48_000)
    next(blocks)
    folder = os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, files[0].fileno())
    os.close(folder)
    with pytest.raises(DecodeError, match="cannot be read to its end: Is a directory") as caught:
        list(blocks)
    assert caught.value.transient


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "IMA_ADPCM"])
def test_a_disk_that_fails_once_is_no_damage_of_a_wav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtype: str
) -> None:
    path, warnings = tmp_path / "sound.wav", list[str]()
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 200_000), 48_000, subtype=subtype)
    monkeypatch.setattr(decode_soundfile, "BLOCK_VALUES", 1 << 12)
    original = decode_soundfile._SequentialSoundFile.read
    results: list[Exception | None] = [None, soundfile.LibsndfileError(decode_soundfile.SNDFILE_SYSTEM_ERROR)]

    def read(sound: soundfile.SoundFile, *arguments: Any, **options: Any) -> np.ndarray:
        if error := results.pop(0):
            raise error
        return original(sound, *arguments, **options)

    monkeypatch.setattr(decode_soundfile._SequentialSoundFile, "read", read)
    if subtype == "IMA_ADPCM":  # its header may be what misleads
        list(decode_blocks(path, 48_000, warnings=warnings))
        assert [warning[:20] for warning in warnings] == ["cannot be read from "]
        return
    with pytest.raises(DecodeError, match="cannot be read to its end: System error") as caught:
        list(decode_blocks(path, 48_000))
    assert caught.value.transient


def test_one_sample_is_a_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", [0.5], SAMPLE_RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(decode(tmp_path / "one.wav", SAMPLE_RATE_HZ), [0.5])
    with pytest.raises(DecodeError, match="shorter than one sample"):
        decode(tmp_path / "one.wav", 1_000)


def test_odd_recordings_are_read_or_refused_in_words(real_sound: Callable[[str], Path]) -> None:
    folder = real_sound("odd_audio")
    refused = {}
    for path in sorted(folder.iterdir()):
        try:
            assert np.isfinite(decode(path, SAMPLE_RATE_HZ)).all()
        except DecodeError as error:
            refused[path.name] = error.reason
    assert set(refused) == {
        "CWE-835-01.aiff",
        "CWE-835.wma",
        "Pnossnd.aif",
        "adts-sf-escape.aac",
        "bug-non ascii chars.mp3",
        "empty.m4a",
        "issue-453.mp3",
        "test1_empty.wav",
    }
    assert all(len(reason) > 10 for reason in refused.values())
