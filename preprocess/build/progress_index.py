"""Which clip a worker is at, for its parent to know should it die. Messages would wake the parent for each."""

import os
import weakref
from pathlib import Path
from tempfile import mkstemp
from typing import Self


class Whereabouts:
    """The index of a clip, in a small file without a name that two processes share by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """A new one, which is gone when nobody refers to it any more, and no earlier: threads may still ask."""
        descriptor, name = mkstemp()
        Path(name).unlink()
        created = cls(descriptor)
        weakref.finalize(created, os.close, descriptor)
        return created

    def put(self, index: int) -> None:
        """Say where the worker is."""
        os.pwrite(self.descriptor, index.to_bytes(8, "little"), 0)

    def get(self) -> int:
        """Where it last was."""
        return int.from_bytes(os.pread(self.descriptor, 8, 0), "little")
