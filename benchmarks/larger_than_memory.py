r"""SCRIPT Speed of training on a store larger than memory, beside the same frames in memory.

    python -m benchmarks.larger_than_memory

Two processes take turns, and the medians of their turns are printed: one under a memory limit that the store passes (a
control group, whose pages of files count; so it needs a right to make one), and one without. A turn begins a new epoch
and takes in what is read before its first step. Beside it stands how many crops a second are read where nothing else
is done. Frames are random, in a temporary store; augmentation and steps are those of benchmarks.training.
"""

from core.entrypoint import run_script

import itertools
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from benchmarks.machine import describe_machine
from benchmarks.random_store import write_random_store
from benchmarks.training import AUGMENTATIONS, Bench, make_job, train_batches
from core import resources
from core.device import pick_device
from core.errors import UserError
from recipe import Recipe
from recipe.cli import parse_command
from train.data.frame_bank import load_frame_bank


@dataclass(frozen=True)
class Turn:
    """What a process did in one turn."""

    steps_per_s: float
    cpu_s_per_step: float
    """Processor time, which other work on the machine changes less."""
    crops_per_s: float
    """Without a network."""
    read_bytes: int
    """From the disk, in the steps."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--clips", type=PositiveInt, default=20_000, help="Clips in the store, of 0.5 to 10 seconds.")
    parser.add_argument("--limit_mb", type=PositiveInt, default=900, help="Memory limit of one process.")
    parser.add_argument("--steps", type=PositiveInt, default=100, help="Steps of a turn.")
    parser.add_argument("--rounds", type=PositiveInt, default=5, help="Turns of each.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Speed of training on a store larger than memory.", add_options)
    options, training = command.options, replace(command.recipe.training, **AUGMENTATIONS)
    recipe = replace(command.recipe, training=training)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        names = write_random_store(path, recipe.features, options.clips)
        n_mb = path.stat().st_size >> 20
        if n_mb <= options.limit_mb:
            raise UserError(f"--clips {options.clips}: their {n_mb} MB do not pass --limit_mb; take more")
        drop_from_page_cache(path)
        print(
            f"{describe_machine(torch.device('cpu'))}\n{n_mb} MB of frames, a limit of {options.limit_mb} MB, "
            f"batches of {training.batch_size}, buffers of {training.shuffle_buffer_mb:g} MB"
        )
        with (
            memory_limit(options.limit_mb << 20) as group,
            start_process(path, names, recipe, group) as limited,
            start_process(path, names, recipe, None) as free,
        ):
            turns = []
            for _ in range(options.rounds):
                turns.append((take_turn(limited, options.steps), take_turn(free, options.steps)))
                each = [f"{turn.steps_per_s:.3f} steps/s, {turn.cpu_s_per_step:.4f} CPU s a step" for turn in turns[-1]]
                print("; ".join(each), file=sys.stderr)
    for name, some in zip(("from the file", "in memory"), zip(*turns, strict=True), strict=True):
        steps_per_s = statistics.median(turn.steps_per_s for turn in some)
        crops_per_s = statistics.median(turn.crops_per_s for turn in some)
        read_mb = statistics.median(turn.read_bytes for turn in some) / 2**20
        print(f"{name:14} {steps_per_s:8.3f} steps/s; {crops_per_s:9.0f} crops/s alone; {read_mb:5.0f} MB of the disk")
    by_clock = [one.steps_per_s / other.steps_per_s for one, other in turns]
    by_cpu = [other.cpu_s_per_step / one.cpu_s_per_step for one, other in turns]
    for what, ratios in (("by the clock", sorted(by_clock)), ("by processor time", sorted(by_cpu))):
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(turns)} turns"
        print(f"from the file, {what}: {statistics.median(ratios):.3f} of the speed in memory ({spread})")


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[Path]:
    """A new control group whose memory is limited, removed at the end. Raises UserError where none can be made."""
    mount = resources.CGROUP_MOUNT
    group = (mount / "memory" if (mount / "memory").is_dir() else mount) / f"earmark-{os.getpid()}"
    try:
        group.mkdir()
        limit_files = [group / limit for limit, *_ in resources.MEMORY_FILES if (group / limit).exists()]
        limit_files[0].write_text(str(n_bytes))
    except (OSError, IndexError) as error:
        raise UserError(f"{group}: no memory limit can be set there ({error}); it takes root's rights") from None
    try:
        yield group
    finally:
        group.rmdir()


@contextmanager
def start_process(path: Path, names: list[str], recipe: Recipe, group: Path | None) -> Iterator[Connection]:
    """A process that takes turns, in a control group; the connection to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=take_turns, args=(theirs, path, names, recipe, group), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10)
        process.kill()
        process.join()


def take_turn(connection: Connection, n_steps: int) -> Turn:
    """One turn of the process behind a connection."""
    connection.send(n_steps)
    try:
        turn = connection.recv()
    except EOFError:
        raise UserError("a process of the benchmark ended: its memory limit may be too low (--limit_mb)") from None
    assert isinstance(turn, Turn)
    return turn


def take_turns(connection: Connection, path: Path, names: list[str], recipe: Recipe, group: Path | None) -> None:
    """Take a turn for each number of steps that comes, as long as the connection is open."""
    if group:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    device = pick_device("cpu")
    frame_bank = load_frame_bank(path, recipe.features, names, device)
    if frame_bank.from_file != (group is not None):
        raise UserError("one process must read from the file, the other from memory: change --clips or --limit_mb")
    job = make_job(frame_bank, recipe, device)
    bench, source = Bench(job), train_batches(job)
    bench.step(bench.batch)
    while True:
        try:
            n_steps = connection.recv()
        except EOFError:
            return
        before, started, cpu_started = read_bytes(), time.perf_counter(), time.process_time()
        for batch in itertools.islice(source(), n_steps):
            bench.step(batch)
        trained, cpu_s, read = time.perf_counter(), time.process_time() - cpu_started, read_bytes() - before
        for _ in itertools.islice(source(), n_steps):
            pass
        n_crops = n_steps * recipe.training.batch_size
        crops_per_s = n_crops / (time.perf_counter() - trained)
        connection.send(Turn(n_steps / (trained - started), cpu_s / n_steps, crops_per_s, read))


def read_bytes() -> int:
    """Bytes that this process has had read from a disk."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def drop_from_page_cache(path: Path) -> None:
    """Have the system forget a file that it has written to the disk, so that who reads it is charged for it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    run_script(main)
