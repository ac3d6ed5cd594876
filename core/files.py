"""Files that appear under their final name whole or not at all."""

import fcntl
import filecmp
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

NEW_PREFIX = ".new-"
"""Of the folders of `replace_files`."""


def fsync_path(path: Path) -> None:
    """Put what was written to a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path, fsync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at the end, or remove it after an exception.

    Parent folders are created. The bytes reach the disk before the name does, unless `fsync` is false: a power cut may
    then damage the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if fsync:
            fsync_path(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk names no file
            error.filename = str(path)
        raise
    if fsync:
        fsync_path(path.parent)


def remove_temporary_files(folder: Path) -> None:
    """Remove what `atomic_write` left in a folder when its process was killed; the caller is the only one to write."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):
            path.unlink(missing_ok=True)


@contextmanager
def replace_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a new folder in `folder`; at the end its files replace those in `folder`, and absent ones of `names` go.

    The last of `names` tells that the others are complete: it is removed before they move, and moves after them. After
    an exception, and where all files are as they were, `folder` is not touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked_folder(folder) as locked:
        temporary = locked / "files"
        temporary.mkdir()
        try:
            yield temporary
        except OSError as error:
            if error.errno:  # by the name that it would have had; a full disk names no file
                error.filename = str(error.filename or folder).replace(str(temporary), str(folder))
            raise
        written = {str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()}
        absent = [folder / path for path in set(names) - written if (folder / path).exists()]
        if not absent and filecmp.cmpfiles(temporary, folder, written, shallow=False)[1:] == ([], []):
            return
        for path in (folder / names[-1], *absent):
            path.unlink(missing_ok=True)
        for name in sorted(written, key=lambda name: (name == names[-1], name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).replace(folder / name)
    fsync_path(folder)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[Path]:
    """Yield a locked temporary folder in `folder`; remove those whose process was killed, which frees their locks."""
    for path in folder.glob(f"{NEW_PREFIX}*/lock"):
        with suppress(OSError), path.open("r+") as lock:  # a living process's, or one that is being removed
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=NEW_PREFIX, dir=folder) as new:
        unlocked = Path(new, "unlocked")
        with unlocked.open("w") as lock:
            with suppress(OSError):  # on a file system without locks, nobody removes it
                fcntl.flock(lock, fcntl.LOCK_EX)
                unlocked.rename(unlocked.with_name("lock"))
            yield Path(new)


def hash_files(paths: Iterable[Path]) -> str:
    """One digest of some files."""
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
