"""Fingerprints of recordings, by which a recording is known to be the same or another."""

import os
import stat
from io import FileIO

import xxhash

PROBE_BYTES = 4096
"""Bytes of a digest from a file's beginning, middle and end."""


def file_fingerprint(path: str) -> str:
    """Size, times of change, inode and a digest of three places of a recording; '' where there is none."""
    current = stat_fingerprint(path)
    return f"{current}:{_digest(path)}" if current else ""


def stat_fingerprint(path: str) -> str:
    """A fingerprint without the digest."""
    try:
        status = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, and there may be a million)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def size_in_fingerprint(source_fingerprint: str) -> int:
    """Bytes of the recording."""
    return int(source_fingerprint.partition(":")[0] or 0)


def content_fingerprint(source_fingerprint: str) -> str:
    """The part of a fingerprint that a copy shares: size, time of change and digest."""
    n_bytes, mtime_ns, *_, digest = source_fingerprint.split(":")
    return f"{n_bytes}:{mtime_ns}:{digest}"


def size_and_digest(source_fingerprint: str) -> str:
    """The part of a fingerprint that copies share whenever they were made; '' of ''."""
    n_bytes, _, rest = source_fingerprint.partition(":")
    return f"{n_bytes}:{rest.rpartition(':')[2]}" if n_bytes else ""


def is_same_file(source_fingerprint: str, current: str, path: str) -> bool:
    """Whether the recording at `path`, whose stat fingerprint is `current`, is the one of `source_fingerprint`.

    With another inode, but the same size and time, it may be a copy, or another recording of that name: an archive may
    give all files one time. Then the digest decides.
    """
    if not source_fingerprint or not current:
        return False
    if source_fingerprint.startswith(f"{current}:"):
        return True
    is_similar = source_fingerprint.split(":")[:2] == current.split(":")[:2]
    return is_similar and source_fingerprint.endswith(f":{_digest(path)}")


def _digest(path: str) -> str:
    """Digest of PROBE_BYTES at three places; '' where the path cannot be read, or is no regular file."""
    digest = xxhash.xxh3_64()
    try:
        with FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:  # it may be a pipe
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return ""
            for at in (0, status.st_size // 2, status.st_size - PROBE_BYTES):
                digest.update(os.pread(file.fileno(), PROBE_BYTES, max(at, 0)))
    except OSError:
        return ""
    return digest.hexdigest()
