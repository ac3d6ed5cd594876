"""The sound decides how long a recording is, whatever its header states, and what cannot be read is told."""

import math
import struct
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.decode_ffmpeg import ASF_DATA
from preprocess.frames.framing import Samples
from tests.audio_files import encode_with_pyav

SAMPLE_RATE_HZ = 16_000
N_FILES = 40
TONES_HZ = (300, 1_000, 3_000)


def read(content: bytes, folder: Path, sample_rate_hz: int = SAMPLE_RATE_HZ) -> tuple[Samples, list[str]]:
    """The samples of a file, and the warnings."""
    path, warnings = folder / "recording", list[str]()
    path.write_bytes(content)
    return np.concatenate(list(decode_blocks(path, sample_rate_hz, warnings=warnings))), warnings


def tone(frequency_hz: float, seconds: float = 2.0, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Samples:
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def encode(form: str, sound: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ, **keys: Any) -> bytes:
    file = BytesIO()
    soundfile.write(file, sound, sample_rate_hz, format=form, **keys)
    return file.getvalue()


def frequency_hz(sound: Samples, at_s: float) -> float:
    """The strongest frequency in the quarter of a second from `at_s` on; 0 for silence."""
    part = sound[round(at_s * SAMPLE_RATE_HZ) :][: SAMPLE_RATE_HZ // 4]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum)) * SAMPLE_RATE_HZ / len(part) if spectrum.max() > 1 else 0.0


def assert_tones(sound: Samples, starts_s: list[float], tones_hz: tuple[float, ...] = TONES_HZ) -> None:
    """From a little after each start on, there is the next tone."""
    found = [frequency_hz(sound, start_s + 0.3) for start_s in starts_s]
    assert found == pytest.approx(list(tones_hz), abs=10)


def set_xing_count(content: bytes, count: int) -> bytes:
    at = max(content.find(b"Xing"), content.find(b"Info"))
    assert at > 0
    return content[: at + 8] + struct.pack(">I", count) + content[at + 12 :]


def without_xing(content: bytes) -> bytes:
    """An MP3 without its first frame, which holds the header of Xing."""
    at = max(content.find(b"Xing"), content.find(b"Info"))
    start = content.rfind(b"\xff", 0, at)
    following = content.find(content[start : start + 2], at)
    return content[following:]


def id3(n_bytes: int) -> bytes:
    size = bytes((n_bytes >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + size + bytes(n_bytes)


def mp3(**keys: Any) -> list[bytes]:
    return [encode("MP3", tone(each), **keys) for each in TONES_HZ]


VBR: dict[str, Any] = {"bitrate_mode": "VARIABLE", "compression_level": 0.7}
LOUD_FIRST = np.concatenate([np.random.default_rng(0).uniform(-0.9, 0.9, 8_000), *(tone(each) for each in TONES_HZ)])


@pytest.mark.parametrize(
    ("content", "seconds", "tells"),
    [
        (without_xing(encode("MP3", LOUD_FIRST, **VBR)), 6.5, False),
        (b"".join(mp3()), 6, False),
        (b"".join(mp3(**VBR)), 6, False),
        (id3(3_000).join(mp3()), 6, False),
        ((b"TAG" + bytes(125)).join([*mp3(), b""]), 6, False),
        (set_xing_count(mp3()[0], 0), 2, False),
        (set_xing_count(mp3()[0], 9), 2, False),
        (set_xing_count(mp3()[0], 900), 2, True),
        (mp3()[0] + b"APETAGEX" + bytes(120), 2, False),
        (mp3()[0][: len(mp3()[0]) // 2], 1, True),
    ],
    ids=[
        "vbr",
        "joined",
        "joined-vbr",
        "id3-between",
        "id3v1-between",
        "xing-0",
        "xing-less",
        "xing-more",
        "ape",
        "cut",
    ],
)
def test_mp3_is_read_to_its_end(tmp_path: Path, content: bytes, seconds: float, tells: bool) -> None:
    sound, warnings = read(content, tmp_path)
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(seconds, abs=0.3)  # encoders fill up
    assert bool(warnings) == tells, warnings
    assert frequency_hz(sound, len(sound) / SAMPLE_RATE_HZ - 0.5) == pytest.approx(
        3_000 if seconds >= 6 else 300, abs=10
    )


def flac(seconds: float = 6.0) -> bytes:
    """Noise that changes its level, so that frames have many sizes."""
    random = np.random.default_rng(0)
    return encode("FLAC", tone(300, seconds) + random.uniform(-0.1, 0.1, round(seconds * SAMPLE_RATE_HZ)))


def state_flac_length(content: bytes, n_samples: int) -> bytes:
    return (
        content[:21]
        + bytes([content[21] & 0xF0 | n_samples >> 32])
        + struct.pack(">I", n_samples & 0xFFFFFFFF)
        + content[26:]
    )


@pytest.mark.parametrize("n_samples", [0, 1, 16_000, 96_000])
def test_flac_is_read_to_its_end_whatever_its_header_states(tmp_path: Path, n_samples: int) -> None:
    sound, warnings = read(state_flac_length(flac(), n_samples), tmp_path)
    assert (len(sound), warnings) == (96_000, [])


@pytest.mark.parametrize("seconds", [3.0, 20.0])  # libsndfile refuses the second from sample 262,145 on
@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), b"APETAGEX" + bytes(200), b"\n", bytes(5_000)])
def test_what_stands_behind_flac_costs_nothing(tmp_path: Path, seconds: float, behind: bytes) -> None:
    sound, warnings = read(flac(seconds) + behind, tmp_path)
    np.testing.assert_array_equal(sound, read(flac(seconds), tmp_path)[0])
    assert not warnings


@pytest.mark.parametrize("n_missing", [1, 100, 10_000, 60_000])
def test_of_flac_that_breaks_off_the_beginning_is_read(tmp_path: Path, n_missing: int) -> None:
    content = flac(20.0)
    whole, _ = read(content, tmp_path)
    sound, (warning,) = read(content[:-n_missing], tmp_path)
    assert len(whole) - len(sound) <= 4096 * (2 + n_missing // 4000)
    np.testing.assert_array_equal(sound, whole[: len(sound)])
    assert f"{len(sound) / SAMPLE_RATE_HZ:.2f} s" in warning


FORMS: dict[str, Callable[[Samples], bytes]] = {
    "flac": lambda sound: encode("FLAC", sound, 48_000),
    "mp3": lambda sound: encode("MP3", sound, 48_000),
    "vorbis": lambda sound: encode("OGG", sound, 48_000, subtype="VORBIS"),
    "opus": lambda sound: encode("OGG", sound, 48_000, subtype="OPUS"),
    "webm": lambda sound: encode_with_pyav("webm", "libopus", sound),
    "m4a": lambda sound: encode_with_pyav("ipod", "aac", sound),
    "mov": lambda sound: encode_with_pyav("mov", "aac", sound),
    "mkv": lambda sound: encode_with_pyav("matroska", "flac", sound),
    "ts": lambda sound: encode_with_pyav("mpegts", "aac", sound),
    "aac": lambda sound: encode_with_pyav("adts", "aac", sound),
}


def noise(seconds: float = 8.0) -> Samples:
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * 48_000)).astype(np.float32)


@cache
def noise_in(form: str) -> bytes:
    return FORMS[form](noise())


@cache
def read_noise_in(form: str) -> tuple[Samples, list[str]]:
    with TemporaryDirectory() as folder:
        return read(noise_in(form), Path(folder), 48_000)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "damage", [bytes(3_000), b"", np.random.default_rng(1).bytes(3_000)], ids=["0", "hole", "noise"]
)
def test_damage_in_the_middle_is_told_and_the_rest_is_read(tmp_path: Path, form: str, damage: bytes) -> None:
    content = noise_in(form)
    at = len(content) // 2
    damaged = content[:at] + damage + content[at + 3_000 :]
    if form in ("m4a", "mov") and not damage:
        with pytest.raises(DecodeError):  # its index lies behind the sound
            read(damaged, tmp_path, 48_000)
        return
    sound, warnings = read(damaged, tmp_path, 48_000)
    times_s = [float(word) for word in warnings[0].split() if word.replace(".", "").isdigit()]
    assert 2.5 < times_s[0] < 5
    assert len(sound) / 48_000 == pytest.approx(8, abs=0.05 if form not in ("mp3", "aac") else 0.6)
    whole, _ = read_noise_in(form)
    np.testing.assert_allclose(sound[96_000:110_000], whole[96_000:110_000], atol=1e-4)
    if form not in ("mp3", "aac"):  # which have no times
        ours, theirs = sound[7 * 48_000 :][:32_768], whole[7 * 48_000 :][:32_768]
        products = np.fft.irfft(np.fft.rfft(ours) * np.conj(np.fft.rfft(theirs)))
        lag = int(np.argmax(products))
        assert min(lag, len(products) - lag) <= 48  # a millisecond, to which WebM rounds
        assert products.max() > 0.9 * np.vdot(theirs, theirs)


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("m4a", "mov")])
def test_what_breaks_off_is_told(tmp_path: Path, form: str) -> None:
    content = noise_in(form)
    assert read_noise_in(form)[1] == []
    sound, warnings = read(content[: len(content) // 2 + 7], tmp_path)
    assert 2.5 < len(sound) / SAMPLE_RATE_HZ < 4.5
    assert len(warnings) == 1, warnings
    assert f"{len(sound) / SAMPLE_RATE_HZ:.2f} s" in warnings[0]


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        *[(form, "PCM_16") for form in ("AIFF", "AU", "W64", "CAF", "SVX", "VOC", "NIST", "MAT4")],
        *[("AIFF", "FLOAT"), ("WAV", "ULAW"), ("WAV", "MS_ADPCM")],
    ],
)
def test_plain_samples_that_break_off_are_told(tmp_path: Path, form: str, subtype: str) -> None:
    content = encode(form, noise(), 48_000, subtype=subtype)
    assert read(content, tmp_path)[1] == []
    sound, (warning,) = read(content[: len(content) // 2 + 7], tmp_path, 48_000)
    assert len(sound) / 48_000 == pytest.approx(4, abs=0.1)
    assert warning.startswith(f"it breaks off at {len(sound) / 48_000:.2f} s")


@pytest.mark.parametrize(
    ("form", "codec", "warning"),
    [
        ("avi", "pcm_s16le", "it breaks off at {:.2f} s of 8.00 s"),
        ("mov", "pcm_s16le", "cannot be read from {:.2f} s on"),
        ("mp4", "libopus", "cannot be read from {:.2f} s on"),
        ("asf", "pcm_s16le", "cannot be read from {:.2f} s on"),
        ("wav", "libmp3lame", "cannot be read from {:.2f} s on"),
        ("flv", "libmp3lame", "it breaks off at {:.2f} s of 8.02 s"),
    ],
)
def test_films_and_codecs_that_break_off_are_told(tmp_path: Path, form: str, codec: str, warning: str) -> None:
    options = {"moov_size": "16384"} if form in ("mov", "mp4") else {}  # the header before the sound
    content = encode_with_pyav(form, codec, noise(), options=options)
    assert read(content, tmp_path)[1] == []
    sound, warnings = read(content[: len(content) * 3 // 5 + 7], tmp_path, 48_000)
    assert 4 < len(sound) / 48_000 < 5
    assert warnings == [warning.format(len(sound) / 48_000)]


def test_a_film_whose_length_was_never_filled_in_is_read_to_its_end(tmp_path: Path) -> None:
    content = encode_with_pyav("avi", "pcm_s16le", noise())
    for size in (bytes(4), b"\xff" * 4):
        sound, warnings = read(content[:4] + size + content[8:], tmp_path, 48_000)
        assert (len(sound), warnings) == (8 * 48_000, [])


@pytest.mark.parametrize(
    ("form", "key", "n_bytes"), [("wav", b"data", 4), ("asf", ASF_DATA, 8), ("flv", b"duration\0", 8)]
)
@pytest.mark.parametrize("value", [b"\0", b"\xff"])
def test_a_length_that_was_never_filled_in_is_none(
    tmp_path: Path, form: str, key: bytes, n_bytes: int, value: bytes
) -> None:
    content = encode_with_pyav(form, "libmp3lame", noise(4.0))
    at = content.index(key) + len(key)
    stopped = content[:at] + value * n_bytes + content[at + n_bytes : len(content) // 2]
    sound, warnings = read(stopped, tmp_path, 48_000)
    assert 1.6 < len(sound) / 48_000 < 2.1
    assert not warnings


def test_what_a_program_that_writes_on_states_is_no_length(tmp_path: Path) -> None:
    content = encode("AIFF", tone(300), subtype="PCM_16")
    at = content.index(b"SSND") + 4
    sound, warnings = read(content[:at] + struct.pack(">I", 0x7F000008) + content[at + 4 :], tmp_path)
    assert len(sound) == 2 * SAMPLE_RATE_HZ
    assert not warnings


def test_a_tag_that_states_no_duration_costs_nothing(tmp_path: Path) -> None:
    content = encode_with_pyav("matroska", "flac", tone(300, 2, 48_000))
    damaged = content.replace(b"00:00:02", b"00x00002")
    assert damaged != content
    sound, warnings = read(damaged, tmp_path)
    assert len(sound) == 2 * SAMPLE_RATE_HZ
    assert not warnings


def ogg(codec: str, frequency: float, sample_rate_hz: int, n_channels: int) -> bytes:
    sound = np.repeat(tone(frequency, 2, sample_rate_hz)[:, None], n_channels, axis=1)
    if codec == "vorbis":
        return encode("OGG", sound, sample_rate_hz, subtype="VORBIS")
    return encode_with_pyav("ogg", codec, sound, sample_rate_hz)


@pytest.mark.parametrize(
    "links",
    [
        [("vorbis", 16_000, 1)] * 3,
        [("libopus", 48_000, 1)] * 3,
        [("flac", 16_000, 1)] * 3,
        [("vorbis", 16_000, 1), ("vorbis", 44_100, 2), ("vorbis", 22_050, 1)],
        [("libopus", 48_000, 2), ("libopus", 48_000, 1), ("libopus", 24_000, 2)],
        [("flac", 44_100, 2), ("libopus", 48_000, 1), ("vorbis", 44_100, 1)],
    ],
)
def test_chained_ogg_is_read_to_its_end(tmp_path: Path, links: list[tuple[str, int, int]]) -> None:
    content = b"".join(ogg(codec, each, hz, n) for each, (codec, hz, n) in zip(TONES_HZ, links, strict=True))
    sound, warnings = read(content, tmp_path)
    assert (len(sound) / SAMPLE_RATE_HZ, warnings) == (pytest.approx(6, abs=0.03), [])
    assert_tones(sound, [0, 2, 4])


def test_a_broken_link_costs_what_follows(tmp_path: Path) -> None:
    first = ogg("vorbis", 300, 16_000, 1)
    sound, (warning,) = read(first + ogg("libopus", 300, 48_000, 1)[:40], tmp_path)
    assert len(sound) == pytest.approx(32_000, abs=400)
    assert "cannot be read from 2.0" in warning


VIDEO_FORMS = [
    ("matroska", "aac"),
    ("webm", "libopus"),
    ("mp4", "aac"),
    ("mov", "aac"),
    ("mpegts", "aac"),
    ("avi", "pcm_s16le"),
]


@pytest.mark.parametrize("with_video", [True, False])
@pytest.mark.parametrize(("form", "codec"), [pair for pair in VIDEO_FORMS if pair[0] != "avi"])
def test_times_are_the_files_own(tmp_path: Path, form: str, codec: str, with_video: bool) -> None:
    """Sound starts at 3 s, and after a second pauses for two."""
    if form == "webm":
        with_video = False  # it has no place for MPEG-4
    sound = np.concatenate([tone(300, 1, 48_000), tone(1_000, 1, 48_000)])
    content = encode_with_pyav(form, codec, sound, starts_s=[(0, 3), (1, 5)], with_video=with_video)
    got, warnings = read(content, tmp_path)
    start_s = 0.0 if form == "mpegts" and not with_video else 3.0  # its clock has no beginning
    assert len(got) / SAMPLE_RATE_HZ == pytest.approx(start_s + 4, abs=0.06)
    assert_tones(got, [start_s, start_s + 3], (300, 1_000))
    assert np.abs(got[: max(0, round((start_s - 0.05) * SAMPLE_RATE_HZ))]).max(initial=0) < 1e-3
    assert len(warnings) == 1
    assert f"no sound from {start_s + 1:.0f}" in warnings[0]


def test_wrong_times_do_not_make_days_of_silence(tmp_path: Path) -> None:
    content = encode("CAF", tone(300))
    path, warnings = tmp_path / "recording", list[str]()
    path.write_bytes(content[:40] + struct.pack(">I", 3_041_281) + content[44:8_192])  # samples a packet: 190 s
    n_samples = sum(map(len, decode_blocks(path, SAMPLE_RATE_HZ, warnings=warnings)))
    sound_s = (8_192 - 4_096) / 2 / SAMPLE_RATE_HZ
    assert 3400 < n_samples / SAMPLE_RATE_HZ <= 3600 + 101 * sound_s
    assert "its times jump at 3421" in warnings[1]


def test_sound_that_starts_two_hours_late_is_on_another_clock(tmp_path: Path) -> None:
    content = encode_with_pyav("matroska", "aac", tone(300, 1, 48_000), starts_s=[(0, 7200)], with_video=True)
    got, warnings = read(content, tmp_path)
    assert len(got) / SAMPLE_RATE_HZ == pytest.approx(1, abs=0.06)
    assert "its times jump at 0.00 s" in warnings[0]


@pytest.mark.parametrize(("form", "codec"), [pair for pair in VIDEO_FORMS if pair[0] != "webm"])
def test_sound_beside_a_film_is_not_shifted(tmp_path: Path, form: str, codec: str) -> None:
    sound = np.zeros(96_000, np.float32)
    sound[48_000] = 0.9
    got, warnings = read(encode_with_pyav(form, codec, sound, with_video=True), tmp_path, 48_000)
    assert np.argmax(np.abs(got)) / 48_000 == pytest.approx(1, abs=0.025)  # broadcasts do not state the encoder's delay
    assert not warnings


def count_with_pyav(content: bytes) -> float:
    """Seconds of all frames."""
    container: Any
    with av.open(BytesIO(content)) as container:
        return math.fsum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def random_file(form: str, random: np.random.Generator) -> bytes:
    hz = int(random.choice([48_000] if "opus" in form else [8_000, 16_000, 22_050, 44_100, 48_000]))
    n_channels, n_samples = int(random.integers(1, 3)), int(random.integers(hz // 10, hz))
    sound = random.uniform(-0.3, 0.3, (n_samples, n_channels)).astype(np.float32)
    if random.random() < 0.5:
        sound[: n_samples // 2] *= 0.01
    match form:
        case "wav" | "aiff" | "flac" | "caf" | "w64":
            subtypes = ["PCM_16", "PCM_24", "PCM_S8" if form == "flac" else "PCM_16"]
            return encode(form.upper(), sound, hz, subtype=str(random.choice(subtypes)))
        case "mp3":
            mode = str(random.choice(["CONSTANT", "VARIABLE", "AVERAGE"]))
            content = encode("MP3", sound, hz, bitrate_mode=mode, compression_level=random.uniform(0, 0.9))
            return without_xing(content) if random.random() < 0.3 else content
        case "vorbis" | "opus":
            return encode("OGG", sound, hz, subtype=form.upper())
        case _:
            container, codec = form.split("-")
            return encode_with_pyav(container, codec, sound, hz)


BY_SOUNDFILE = ("wav", "aiff", "flac", "caf", "w64", "mp3", "vorbis", "opus")
BY_PYAV = ("webm-libopus", "matroska-flac", "ipod-aac", "ogg-flac", "ogg-libopus", "adts-aac", "mpegts-aac")


@pytest.mark.parametrize("form", [*BY_SOUNDFILE, *BY_PYAV, "mp4-alac", "mov-pcm_s16le"])
def test_40_files_are_as_long_as_pyav_finds_them(tmp_path: Path, form: str) -> None:
    random = np.random.default_rng(0)
    for number in range(N_FILES):
        content = random_file(form, random)
        expected_s = count_with_pyav(content)
        sound, warnings = read(content, tmp_path, 48_000)
        tolerance_s = 0.03 if form == "vorbis" else 0.001  # PyAV is wrong by a block where all is in one page
        assert len(sound) / 48_000 == pytest.approx(expected_s, abs=tolerance_s), number
        assert not warnings, (number, warnings)
