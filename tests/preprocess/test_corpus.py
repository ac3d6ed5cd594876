"""Files as they should not be, read in sandboxes: a bad one costs itself alone, whatever its bytes."""

import os
import struct
import time
from collections.abc import Callable
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.parallel import run_parallel
from preprocess.audio.blocks import UnexpectedError
from preprocess.audio.isolated import decoder_limits
from preprocess.build.shard_task import ClipJob, ShardTask, compute_shards
from preprocess.store.schema import features_digest
from preprocess.store.shards import read_shard
from recipe import Data, Features

FEATURES = Features(sample_rate_hz=16_000, n_fft=256, hop_length=128, n_bins=16)
LIMITS = decoder_limits(Data())
WRITTEN = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"),
    "AIFF": ("PCM_S8", "PCM_16", "PCM_24", "FLOAT"),
    "FLAC": ("PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
    "CAF": ("PCM_16",),
    "W64": ("PCM_16",),
    "AU": ("PCM_16",),
    "RF64": ("PCM_16",),
}
NAMES = (
    "new\nline.wav",
    "'\"quo\"tes'.wav",
    "🐈 猫.wav",
    "-rf.wav",
    "a, b;c.wav",
    "%s{0}.wav",
    " .wav",
    "x" * 240 + ".wav",
)
MAX_DECODE_S = 10.0


def encoded(form: str = "WAV", subtype: str | None = None, n_channels: int = 1, sample_rate_hz: int = 16_000) -> bytes:
    """Half a second of noise."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (sample_rate_hz // 2, n_channels))
    file = BytesIO()
    soundfile.write(file, noise, sample_rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def samples(values: list[float]) -> bytes:
    file = BytesIO()
    soundfile.write(file, np.array(values), 16_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def good_files() -> dict[str, bytes]:
    """What must be read, by name."""
    wav, flac = encoded(), encoded("FLAC")
    data = wav.index(b"data") + 4
    w64 = encoded("W64")
    return {
        **{f"{form}-{subtype}.{form.lower()}": encoded(form, subtype) for form in WRITTEN for subtype in WRITTEN[form]},
        **dict.fromkeys(NAMES, wav),
        "flac.mp3": flac,
        "ogg.wav": encoded("OGG"),
        "wav.unknown": wav,
        "channels-32.wav": encoded(n_channels=32),
        "channels-7.flac": encoded("FLAC", n_channels=7),
        "rate-8000.wav": encoded(sample_rate_hz=8_000),
        "rate-192000.wav": encoded(sample_rate_hz=192_000),
        "one.wav": samples([0.5]),
        "zeros.wav": samples([0.0] * 8_000),
        "data-of-4-GB.wav": patched(wav, data, b"\xff\xff\xff\xff"),
        "declares-2^63-1.w64": patched(w64, w64.index(b"data") + 16, struct.pack("<q", 2**63 - 1)),
        "declares-2^36-1.flac": patched(flac, 21, bytes([flac[21] | 0x0F, 255, 255, 255, 255])),
        "trailing.wav": wav + b"junk" * 100,
    }


def bad_files() -> dict[str, bytes]:
    """What must be refused, by name."""
    wav = encoded()
    rate, channels = wav.index(b"fmt ") + 12, wav.index(b"fmt ") + 10
    return {
        "empty.wav": b"",
        "page.wav": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "nan.wav": samples([0.1, float("nan"), 0.2]),
        "infinite.wav": samples([0.1, float("inf"), 0.2]),
        "too-loud.wav": samples([0.1, 1e30, 0.2]),
        "header-only.wav": wav[:44],
        "riff-only.wav": b"RIFF",
        "0-Hz.wav": patched(wav, rate, b"\0\0\0\0"),
        "1-Hz.wav": patched(wav, rate, b"\1\0\0\0"),
        "4-GHz.wav": patched(wav, rate, b"\xff\xff\xff\xff"),
        "0-channels.wav": patched(wav, channels, b"\0\0"),
        "65535-channels.wav": patched(wav, channels, b"\xff\xff"),
        "text.flac": "Kein Ton, nur Text.\n".encode("utf-16") * 50,
        "archive.ogg": b"PK\x03\x04" + bytes(500),
        "picture.mp3": b"\x89PNG\r\n\x1a\n" + bytes(500),
        "zeros.bin": bytes(5_000),
        "playlist.wav": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\none.wav\n#EXT-X-ENDLIST\n",
        "flac-magic.flac": b"fLaC",
        "ogg-magic.ogg": b"OggS" + bytes(100),
    }


def cut_files() -> dict[str, bytes]:
    """What breaks off at each quarter: read as far as it goes, or refused."""
    contents = {form: encoded(form) for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF")}
    return {
        f"cut-{quarter}.{form.lower()}": content[: len(content) * quarter // 4]
        for form, content in contents.items()
        for quarter in (1, 2, 3)
    }


def make_no_files(folder: Path) -> set[str]:
    """Names that are there and are no files; returns them."""
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "dangling.wav").symlink_to("nowhere.wav")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "locked.wav").write_bytes(encoded())
    (folder / "locked.wav").chmod(0)
    locked = set() if os.access(folder / "locked.wav", os.R_OK) else {"locked.wav"}  # root reads all
    (folder / "locked.wav").unlink() if not locked else None
    return {"loop.wav", "dangling.wav", "folder.wav", "pipe.wav", "missing.wav"} | locked


def computed(folder: Path, names: list[str], shards: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of clips that could be read, and the reasons of those that could not."""
    clips = tuple(ClipJob(name, str(folder / name)) for name in names)
    tasks = [
        ShardTask(shards / f"{start}.shard", clips[start : start + 10], FEATURES, features_digest(FEATURES), LIMITS)
        for start in range(0, len(clips), 10)
    ]
    digests: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for result in chain.from_iterable(run_parallel(compute_shards, tasks, 2)):
        errors = [clip.error for clip in result.clip_results if clip.error]
        assert not any(isinstance(error, UnexpectedError) for error in errors), errors
        reasons |= {clip.job.clip: clip.error.reason for clip in result.clip_results if clip.error}
        rows, corrupt = read_shard(result.shard, FEATURES)
        assert not corrupt
        digests |= {row.clip: row.digest for row in rows}
    return digests, reasons


def test_a_bad_file_costs_itself_alone(tmp_path: Path) -> None:
    good, bad, cut = good_files(), bad_files(), cut_files()
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, content in {**good, **bad, **cut}.items():
        (folder / name).write_bytes(content)
    no_files = make_no_files(folder)
    names = sorted({*good, *bad, *cut, *no_files})
    assert len(names) >= 60
    digests, reasons = computed(folder, names, tmp_path / "shards")
    assert digests.keys() | reasons.keys() == set(names)
    assert not digests.keys() & reasons.keys()
    assert digests.keys() - cut.keys() == good.keys()
    assert all(" " in reason and "\n" not in reason for reason in reasons.values())
    assert len({digests[name] for name in NAMES}) == 1
    clean, none = computed(folder, sorted(digests), tmp_path / "clean")
    assert (clean, none) == (digests, {})


def test_odd_recordings_harm_no_others(tmp_path: Path, real_sound: Callable[[str], Path]) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for path in real_sound("odd_audio").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "good.wav").write_bytes(encoded())
    names = sorted(path.name for path in folder.iterdir())
    digests, reasons = computed(folder, names, tmp_path / "shards")
    assert len(digests) + len(reasons) == len(names)
    assert len(digests) >= 22
    assert computed(folder, ["good.wav"], tmp_path / "clean")[0]["good.wav"] == digests["good.wav"]


def originals() -> list[bytes]:
    """Real files whose headers are to be mutated, half a second each."""
    forms = [("WAV", "PCM_16"), ("WAV", "MS_ADPCM"), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
    return [encoded(form, subtype) for form, subtype in [*forms, ("AIFF", None), ("CAF", None), ("W64", None)]]


@given(
    original=st.sampled_from(originals()),
    changes=st.lists(st.tuples(st.integers(0, 120), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    length=st.floats(0.05, 1),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_300_mutated_headers_harm_nobody(
    tmp_path: Path, original: bytes, changes: list[tuple[int, bytes]], length: float
) -> None:
    content = original[: int(length * len(original))]
    for at, new in changes:
        content = patched(content, at, new)
    path = tmp_path / "mutated.wav"
    path.write_bytes(content)
    began = time.monotonic()
    task = ShardTask(tmp_path / "0.shard", (ClipJob("a", str(path)),), FEATURES, features_digest(FEATURES), LIMITS)
    (result,) = compute_shards(task)
    assert time.monotonic() - began < MAX_DECODE_S
    (clip_result,) = result.clip_results
    assert not isinstance(clip_result.error, UnexpectedError), clip_result.error
