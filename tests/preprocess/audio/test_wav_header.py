"""WAV files whose headers mislead: read as they sound, or refused in a line."""

import struct
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.wav_header import read_wav_layout
from preprocess.frames.framing import Samples

SAMPLE_RATE_HZ = 16_000
N_SAMPLES = 3 * SAMPLE_RATE_HZ
TONE = 0.3 * np.sin(2 * np.pi * 300 * np.arange(N_SAMPLES) / SAMPLE_RATE_HZ + 0.5)
DATA = (TONE * 32767).astype("<i2").tobytes()
UNCLOSED = 0xFFFFFFFF
GUID_END = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, content: bytes, size: int | None = None, *, pad: bool = True) -> bytes:
    n_bytes = len(content) if size is None else size
    return name + struct.pack("<I", n_bytes) + content + (b"\0" if pad and len(content) % 2 else b"")


def fmt(bits: int = 16, align: int = 2, n_channels: int = 1, tag: int = 1) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, n_channels, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * align, align, bits))


def extensible(bits: int, valid_bits: int, align: int) -> bytes:
    basis = struct.pack("<HHIIHH", 0xFFFE, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * align, align, bits)
    return chunk(b"fmt ", basis + struct.pack("<HHIH", 22, valid_bits, 4, 1) + GUID_END)


def riff(*chunks: bytes, name: bytes = b"RIFF", size: int | None = None) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(content) if size is None else size) + content


def ds64(n_bytes: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", n_bytes, n_bytes, n_bytes // 2, 0))


def rf64(*chunks: bytes, name: bytes = b"RF64") -> bytes:
    return riff(*chunks, name=name, size=UNCLOSED)


def read(content: bytes, folder: Path) -> tuple[Samples, list[str]]:
    path, warnings = folder / "sound.wav", list[str]()
    path.write_bytes(content)
    return np.concatenate(list(decode_blocks(path, SAMPLE_RATE_HZ, warnings=warnings))), warnings


LIST = b"INFOISFT\5\0\0\0abcde"
WHOLE = {
    "plain": riff(fmt(), chunk(b"data", DATA)),
    **{f"size {size:x}": riff(fmt(), chunk(b"data", DATA, size)) for size in (0, UNCLOSED, 0xFFFFFFFE, 0x7FFFFFFF)},
    "riff size 0": riff(fmt(), chunk(b"data", DATA, 0), size=0),
    "size odd": riff(fmt(), chunk(b"data", DATA, len(DATA) - 1)),
    "list odd": riff(fmt(), chunk(b"LIST", LIST), chunk(b"data", DATA)),
    "list odd without pad": riff(fmt(), chunk(b"LIST", LIST, pad=False), chunk(b"data", DATA)),
    "bext odd without pad": riff(chunk(b"bext", bytes(603), pad=False), fmt(), chunk(b"data", DATA)),
    "list behind": riff(fmt(), chunk(b"data", DATA), chunk(b"LIST", LIST)),
    "rf64": rf64(ds64(len(DATA)), fmt(), chunk(b"data", DATA, UNCLOSED)),
    "rf64 unclosed": rf64(ds64(0), fmt(), chunk(b"data", DATA, UNCLOSED)),
    "rf64 unclosed, size 0": rf64(ds64(0), fmt(), chunk(b"data", DATA, 0)),
    "rf64 without ds64": rf64(chunk(b"JUNK", bytes(28)), fmt(), chunk(b"data", DATA, UNCLOSED)),
    "bw64 unclosed": rf64(ds64(0), fmt(), chunk(b"data", DATA, UNCLOSED), name=b"BW64"),
    "align 0": riff(fmt(align=0), chunk(b"data", DATA)),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_the_file_decides_what_its_header_leaves_open(tmp_path: Path, content: bytes) -> None:
    sound, warnings = read(content, tmp_path)
    np.testing.assert_allclose(sound, TONE, atol=1e-4)
    assert not warnings


@pytest.mark.parametrize(
    ("content", "n_samples", "warning"),
    [
        (riff(fmt(), chunk(b"data", DATA, len(DATA) + 16_000)), N_SAMPLES, "it breaks off at 3.00 s of 3.50 s"),
        (WHOLE["plain"][: 44 + 64_000], 32_000, "it breaks off at 2.00 s of 3.00 s"),
        (riff(fmt(), chunk(b"data", DATA, 32_000)), N_SAMPLES, "its header states 1.00 s; what follows is read"),
        (rf64(ds64(32_000), fmt(), chunk(b"data", DATA, UNCLOSED)), N_SAMPLES, "its header states 1.00 s"),
        (2 * WHOLE["plain"], N_SAMPLES, "another recording follows at 3.00 s, which is not read"),
    ],
)
def test_what_contradicts_the_header_is_told(tmp_path: Path, content: bytes, n_samples: int, warning: str) -> None:
    sound, (told,) = read(content, tmp_path)
    np.testing.assert_allclose(sound, TONE[:n_samples], atol=1e-4)
    assert warning in told


def test_no_sound_is_no_sound(tmp_path: Path) -> None:
    for content in (riff(fmt(), chunk(b"data", b"")), riff(fmt(), chunk(b"data", b""), chunk(b"LIST", LIST))):
        with pytest.raises(DecodeError, match="no samples"):
            read(content, tmp_path)


def test_zeros_behind_the_header_are_not_searched_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(riff(bytes(1 << 16)))
    with FileIO(tmp_path / "sound.wav") as file:
        assert read_wav_layout(file) is None
        assert file.tell() < 1 << 12


def words(bits: int, level: float = 1.0) -> np.ndarray:
    return np.round(level * TONE * 2 ** (bits - 1)).astype("<i4")


def packed(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


WORDS = {
    "24 low in 32": (fmt(24, 4), words(24).tobytes()),
    "24 high in 32": (fmt(24, 4), (words(24) << 8).tobytes()),
    "24 low in 32, extensible": (extensible(24, 24, 4), words(24).tobytes()),
    "24 high in 32, extensible": (extensible(24, 24, 4), (words(24) << 8).tobytes()),
    "24 low in 32, said to be 32": (extensible(32, 24, 4), words(24).tobytes()),
    "24 high in 32, said to be 32": (extensible(32, 24, 4), (words(24) << 8).tobytes()),
    "24 low in 32, of 16": (fmt(24, 4), (words(16) << 8).tobytes()),
    "20 low in 32": (extensible(32, 20, 4), words(20).tobytes()),
    "20 high in 24": (extensible(24, 20, 3), packed(words(20) << 4)),
    "20 low in 24": (extensible(24, 20, 3), packed(words(20))),
    "24 in 24": (fmt(24, 3), packed(words(24))),
    "16 in 32": (fmt(16, 4), words(16).tobytes()),
    "32 in 32": (fmt(32, 4), words(32).tobytes()),
}


@pytest.mark.parametrize(("header", "data"), WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_samples_in_wider_words_have_their_level(tmp_path: Path, header: bytes, data: bytes, n_channels: int) -> None:
    if n_channels == 2:
        align = int.from_bytes(header[20:22], "little")
        data = np.repeat(np.frombuffer(data, f"V{align}"), 2).tobytes()
        header = header[:10] + b"\2" + header[11:20] + bytes([2 * align]) + header[21:]
    sound, warnings = read(riff(header, chunk(b"data", data)), tmp_path)
    np.testing.assert_allclose(sound, TONE, atol=1e-4)
    assert not warnings


def test_quiet_samples_of_the_standard_are_not_taken_for_samples_in_low_bits(tmp_path: Path) -> None:
    data = (words(24, 0.001) << 8).tobytes()
    sound, _ = read(riff(extensible(32, 24, 4), chunk(b"data", data)), tmp_path)
    np.testing.assert_allclose(sound, 0.001 * TONE, atol=2.0**-24)


def test_silence_at_the_beginning_does_not_hide_where_the_bits_are(tmp_path: Path) -> None:
    low = np.concatenate([np.zeros(200_000, "<i4"), words(24)])
    for values in (low, low << 8):
        sound, _ = read(riff(fmt(24, 4), chunk(b"data", values.tobytes())), tmp_path)
        np.testing.assert_allclose(sound[200_000:], TONE, atol=1e-4)


@pytest.mark.parametrize(("bits", "align", "n_channels"), [(8, 2, 1), (16, 3, 2), (24, 7, 2), (16, 5, 1), (24, 2, 1)])
def test_what_does_not_fit_is_refused_in_a_line(tmp_path: Path, bits: int, align: int, n_channels: int) -> None:
    with pytest.raises(
        DecodeError, match=f"{n_channels} channels of {bits} bits do not fit its block align of {align}"
    ):
        read(riff(fmt(bits, align, n_channels), chunk(b"data", DATA)), tmp_path)
