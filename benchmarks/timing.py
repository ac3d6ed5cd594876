"""Times of things that take turns, and the rows that say how they compare."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from benchmarks.machine import describe_machine
from core.resources import available_cores
from core.sandbox import THREAD_VARIABLES

WORKER_ENVIRONMENT = dict.fromkeys(THREAD_VARIABLES, "1")
"""Of a sandbox: one thread, since each core has a sandbox of its own."""


def min_time(work: Callable[[], object], n_times: int = 5) -> float:
    """Seconds of the fastest of some turns."""
    times = []
    for _ in range(n_times):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def time_interleaved(*works: Callable[[], object], n_times: int) -> list[float]:
    """Seconds of the fastest turn of each, taken in turns: a machine's speed drifts."""
    return [min(times) for times in zip(*([min_time(work, 1) for work in works] for _ in range(n_times)), strict=True)]


def report(what: str, ours_s: float, theirs_s: float, against: str, claim: str) -> None:
    """A row: two times, and how often ours goes into theirs."""
    print(f"| {what} | {ours_s:.4g} s | {against} {theirs_s:.4g} s | {theirs_s / ours_s:.2f} | {claim} |", flush=True)


def report_turns(what: str, ours_s: Sequence[float], theirs_s: Sequence[float], against: str, claim: str) -> None:
    """A row of turns: median times, and the median of how often ours goes into theirs in the same turn."""
    ratio = median(theirs / ours for ours, theirs in zip(ours_s, theirs_s, strict=True))
    print(
        f"| {what} | {median(ours_s):.4g} s | {against} {median(theirs_s):.4g} s | {ratio:.2f} | {claim} |", flush=True
    )


def reexec_as_worker(module: str) -> None:
    """Begin again in the environment of a sandbox, if this process is not in it."""
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | WORKER_ENVIRONMENT)


def print_heading() -> None:
    """The machine, and the head of the table."""
    print(f"{describe_machine(torch.device('cpu'))}, {available_cores()} cores\n")
    print("| what | ours | against | ratio | claim |\n|---|---|---|---|---|", flush=True)
