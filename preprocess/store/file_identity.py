"""Which file frames were computed from: a stamp, by which a recording is known to be the same or another."""

import os
import stat

import xxhash

PROBE_BYTES = 4096
"""Read at a file's beginning, middle and end."""


def stamp_of(path: str) -> str:
    """Size, times of change, inode and a digest of three places of a recording; '' where there is none."""
    quick = quick_stamp(path)
    return f"{quick}:{_digest(path)}" if quick else ""


def quick_stamp(path: str) -> str:
    """A stamp but for the digest."""
    try:
        status = os.stat(path)  # noqa: PTH116 (half the time of Path.stat, and there may be a million)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def size_of(stamp: str) -> int:
    """Bytes of the recording."""
    return int(stamp.partition(":")[0] or 0)


def content_of(stamp: str) -> str:
    """What of a stamp a copy has as well: size, time of change and digest."""
    n_bytes, changed, *_, digest = stamp.split(":")
    return f"{n_bytes}:{changed}:{digest}"


def is_same(stamp: str, quick: str, path: str) -> bool:
    """Whether the recording at `path`, whose quick stamp is given, is the one that was stamped.

    Of one size and time of change, another inode may be a copy of it, or a recording that has taken its name: in
    archives all files may have one time, and clips one length. Then three places of it tell.
    """
    if not stamp or not quick:
        return False
    if stamp.startswith(f"{quick}:"):
        return True
    return stamp.split(":")[:2] == quick.split(":")[:2] and stamp.endswith(f":{_digest(path)}")


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
