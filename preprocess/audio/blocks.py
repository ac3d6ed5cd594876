"""What decoding gives: blocks of sound, or the reason why there are none."""

from pathlib import Path

from preprocess.frames.framing import Samples

Block = tuple[int, Samples]
"""A rate in Hz, and mono samples at it."""


class DecodeError(Exception):
    """A recording that cannot be read: its `path`, and the `reason` in words.

    `transient` where the file itself may be sound: it is missing, may not be read, or a disk fails.
    """

    def __init__(self, path: Path | str, reason: str, transient: bool = False) -> None:
        super().__init__(path, reason, transient)
        self.path, self.reason, self.transient = Path(path), " ".join(reason.split()), transient

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UnexpectedError(DecodeError):
    """An error of the program or a package, met at a recording: no recording is blamed for it."""

    def __init__(self, path: Path | str, reason: str, transient: bool = True) -> None:
        super().__init__(path, reason, transient)


class InvalidAudio(Exception):
    """Why these bytes are no recording, or no longer one."""
