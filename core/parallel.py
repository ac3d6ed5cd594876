"""Work on many recordings in processes of their own: a decoder that crashes or hangs ends the script in one line."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from core.errors import BadInput
from core.sigint import starting_deaf

Result = TypeVar("Result")


def apart(work: Callable[[str], Result], paths: Sequence[str], n_jobs: int) -> Iterator[Result]:
    """What `work` makes of each recording, in order. Raises BadInput where one of them kills its process.

    One job has a process as well: `preprocess.audio.watchdog` ends the one whose decoder hangs.
    """
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), _mute) as pool:
        try:
            with starting_deaf():
                made = pool.map(work, paths, chunksize=max(1, min(8, len(paths) // n_jobs)))
            yield from made
        except BrokenProcessPool:
            raise BadInput(
                "a decoder crashed or hung on a recording: make features finds which and sets it apart in failed.csv; "
                "move that one away and try again"
            ) from None


def _mute() -> None:
    """Keep what decoders written in C mutter about damaged files from the terminal."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
