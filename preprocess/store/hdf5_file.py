"""A file for HDF5 to write to. A full disk is kept from libhdf5, which crashes when it closes a file on one."""

import os
from io import FileIO
from pathlib import Path
from typing import Any


class DeferredErrorFile(FileIO):
    """The file object that h5py.File takes. After an error it swallows what is written.

    `raise_deferred` raises that error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def raise_deferred(self) -> None:
        """Raise the error that writing met, if any."""
        if self._error:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of `data` at the file's position, or remember why not."""
        n_bytes = memoryview(data).nbytes
        self.write_at(self.tell(), data)
        self.seek(n_bytes, os.SEEK_CUR)
        return n_bytes

    def write_at(self, at: int, data: Any) -> None:
        """Write all of `data` from byte `at` on, also from threads and past HDF5, or remember why not."""
        left = memoryview(data).cast("B")
        try:
            while len(left) and not self._error:
                n_bytes = os.pwrite(self.fileno(), left, at)
                left, at = left[n_bytes:], at + n_bytes
        except OSError as error:
            self._error = error

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0
