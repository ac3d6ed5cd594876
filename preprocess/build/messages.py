"""What the process that plans and the processes that compute say to each other."""

from dataclasses import dataclass
from pathlib import Path

from preprocess.store.schema import Row


@dataclass(frozen=True)
class ClipJob:
    """One recording to be turned into frames."""

    clip: str
    path: str
    n_copies: int = 0
    """How many of the recipe's offline copies are wanted: all or none."""


@dataclass(frozen=True)
class PartJob:
    """Some recordings, whose frames are to be written to the file `part`."""

    part: Path
    clips: tuple[ClipJob, ...]


@dataclass(frozen=True)
class Failure:
    """A recording that could not be read."""

    clip: str
    path: str
    reason: str
    source: str
    """The recording's stamp: as long as it has this one, it is not tried again; '' where it is tried every time."""


@dataclass(frozen=True)
class Ended:
    """What became of a clip: how much sound it was, or why it failed."""

    duration_s: float
    failure: Failure | None = None


@dataclass(frozen=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True)
class Wrote:
    """A worker's part is whole; None where its one clip is given up."""

    part: Path | None
    ends: tuple[Ended, ...]
    """Of the first clips of the job, as many as there was time for."""
    rows: tuple[Row, ...] = ()
    """Of the part, so that nobody need read it for them."""


@dataclass(frozen=True)
class Halted:
    """A worker cannot write, and no other could."""

    reason: str


Message = Ready | Wrote | Halted
