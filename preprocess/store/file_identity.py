"""Which file frames were computed from: a fingerprint, by which a recording is known to be the same or another."""

import os
import stat

import xxhash

PROBE_BYTES = 4096
"""Read at a file's beginning, middle and end."""


def file_fingerprint(path: str) -> str:
    """Size, times of change, inode and a digest of three places of a recording; '' where there is none."""
    current = stat_fingerprint(path)
    return f"{current}:{_digest(path)}" if current else ""


def stat_fingerprint(path: str) -> str:
    """A fingerprint but for the digest."""
    try:
        status = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, and there may be a million)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def size_in_fingerprint(source_fingerprint: str) -> int:
    """Bytes of the recording."""
    return int(source_fingerprint.partition(":")[0] or 0)


def content_fingerprint(source_fingerprint: str) -> str:
    """What of a fingerprint a copy has as well: size, time of change and digest."""
    n_bytes, mtime_ns, *_, digest = source_fingerprint.split(":")
    return f"{n_bytes}:{mtime_ns}:{digest}"


def is_same_file(source_fingerprint: str, current: str, path: str) -> bool:
    """Whether the recording at `path`, whose stat fingerprint is `current`, is the one of `source_fingerprint`.

    Of one size and time of change, another inode may be a copy of it, or a recording that has taken its name: in
    archives all files may have one time, and clips one length. Then three places of it tell.
    """
    if not source_fingerprint or not current:
        return False
    if source_fingerprint.startswith(f"{current}:"):
        return True
    return source_fingerprint.split(":")[:2] == current.split(":")[:2] and source_fingerprint.endswith(
        f":{_digest(path)}"
    )


def _digest(path: str) -> str:
    """Of PROBE_BYTES at its beginning, middle and end; '' where it cannot be read, or is no file."""
    digest = xxhash.xxh3_64()
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer must not block us here
    except OSError:
        return ""
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return ""
        for at in (0, status.st_size // 2, status.st_size - PROBE_BYTES):
            digest.update(os.pread(file, PROBE_BYTES, max(at, 0)))
        return digest.hexdigest()
    except OSError:
        return ""
    finally:
        os.close(file)
