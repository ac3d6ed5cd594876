r"""SCRIPT make bench-gpu: the tests that need a GPU, and what one gives: epochs, precisions, prediction, memory.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu --tiny      # the script itself, at toy size

Frames are random, in a temporary store; nothing is written elsewhere. A table is printed at the end. A part that fails
has its error in the table, and the exit status is then not 0.
"""

from core.entrypoint import run_script

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.config import ROOT
from benchmarks.machine import describe_machine, matmul_flops_per_s
from benchmarks.prediction import make_untrained_tagger, time_windows
from benchmarks.random_store import write_random_store
from benchmarks.training import AUGMENTATIONS, MEMORY_BUDGETS, ON_DEVICE, Bench, make_job
from core.device import BFLOAT16, peak_memory_mb, pick_device
from core.errors import UserError
from recipe import Features, Network, Prediction, Recipe, Training
from train.data.batches import Batch
from train.data.frame_bank import load_frame_bank

Rows = list[tuple[str, str]]
"""Lines of the table: what, and its figures."""
TESTS_TIMEOUT_S = 150
EPOCH_TURNS = 3
"""And one before them, which warms up."""
RECIPE = Recipe(
    network=Network(name="resnet18"),
    training=Training(batch_size=128, crop_seconds=4.0, **AUGMENTATIONS),
    prediction=Prediction(window_seconds=4.0, hop_seconds=1.0),
)
N_CLIPS, MINUTES = 4_970, 60.0
"""The curated clips of FSDKaggle2019; the length of the recording that is predicted."""
TINY_RECIPE = replace(
    RECIPE,
    network=Network(),
    features=Features(n_bins=32),
    training=replace(RECIPE.training, batch_size=4, crop_seconds=0.6),
    prediction=Prediction(window_seconds=0.6, hop_seconds=0.2),
)
TINY_CLIPS, TINY_MINUTES = 9, 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tests and measures a GPU.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu to try the script.")
    parser.add_argument("--tiny", action="store_true", help="Toy sizes, whose figures say nothing.")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("there is no GPU of CUDA here; --device cpu --tiny tries the script without one")
    device, started = pick_device(options.device), time.perf_counter()
    recipe = TINY_RECIPE if options.tiny else RECIPE
    print(describe_machine(device), flush=True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        names = write_random_store(path, recipe.features, TINY_CLIPS if options.tiny else N_CLIPS)
        parts: dict[str, Callable[[], Rows]] = {"tests": partial(run_tests, Path(folder))}
        for precision in ("bfloat16", "float16", "float32"):
            parts[f"training, {precision}"] = partial(time_training, path, names, recipe, device, precision)
        minutes = TINY_MINUTES if options.tiny else MINUTES
        parts["prediction"] = partial(time_prediction, recipe, device, minutes)
        rows, failed = run_parts(parts)
    width = max(len(what) for what, _ in rows)
    print(
        f"\n{describe_machine(device)}; {time.perf_counter() - started:.0f} s",
        *(f"{a:{width}}  {b}" for a, b in rows),
        sep="\n",
    )
    if failed:
        raise UserError(f"failed: {', '.join(failed)} (see the table)")


def run_parts(parts: dict[str, Callable[[], Rows]]) -> tuple[Rows, list[str]]:
    """The rows of all parts, and the names of those that failed."""
    rows, failed = Rows(), list[str]()
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        try:
            rows += part()
        except Exception as error:  # the others are of use without it
            failed.append(name)
            rows.append((name, f"FAILED: {type(error).__name__}: {str(error).partition(chr(10))[0]}"))
    return rows, failed


def run_tests(folder: Path) -> Rows:
    """The tests marked cuda. Raises UserError where one fails."""
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.cuda" in path.read_text()]
    options = ["-m", "cuda", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TESTS_TIMEOUT_S,
    )
    lines = ended.stdout.splitlines() or [ended.stderr]
    if ended.returncode:
        print(ended.stdout, ended.stderr)
        raise UserError("; ".join([line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines[-1:]))
    return [("tests that need a GPU", re.sub(r"[= ]*(\d.*\d+s)\b.*", r"\1", lines[-1]))]


def time_training(path: Path, names: list[str], recipe: Recipe, device: torch.device, precision: str) -> Rows:
    """Whole epochs with frames on the device, in host memory and in the file, beside a constant batch."""
    if precision == "bfloat16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < BFLOAT16:
        return [(f"epochs, {precision}", "not measured: this GPU has no bfloat16")]
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))  # type: ignore[arg-type]
    jobs = {
        name: make_job(load_frame_bank(path, recipe.features, names, device, **budget), recipe, device)  # type: ignore[arg-type]
        for name, budget in MEMORY_BUDGETS.items()
    }
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    bench = Bench(jobs[ON_DEVICE])
    n_steps = len(jobs[ON_DEVICE].batches(0))
    seconds: dict[str, list[float]] = {name: [] for name in ("constant", *jobs)}
    loss = 0.0
    for turn in range(EPOCH_TURNS + 1):
        batches = {"constant": itertools.repeat(bench.batch, n_steps)} | {
            name: job.batches(turn) for name, job in jobs.items()
        }
        for name, some in batches.items():
            elapsed, mean_loss = time_epoch(bench, some)
            if turn:  # the first one warms up
                seconds[name].append(elapsed)
            loss = mean_loss if name == ON_DEVICE else loss
    medians = {name: statistics.median(some) for name, some in seconds.items()}
    peak, flops_per_s = matmul_flops_per_s(device, precision), bench.flops() * n_steps / medians[ON_DEVICE]
    rows = [
        (
            f"epoch of {len(names)} clips, {precision}, {name}",
            f"{medians[name]:.3f} s, {medians['constant'] / medians[name]:.3f} of a constant batch's speed",
        )
        for name in jobs
    ]
    share = f"{flops_per_s / 1e12:.3g} TFLOP/s, {flops_per_s / peak:.1%} of the {peak / 1e12:.3g} of matrix products"
    scale = bench.train_state.scaler.get_scale()
    return [
        *rows,
        (f"arithmetic, {precision}", share),
        (f"peak memory, {precision}", f"{peak_memory_mb(device):.0f} MB"),
        (
            f"loss after {EPOCH_TURNS + 1} epochs, {precision}",
            f"{loss:.4f}" + (f", scale {scale:g}" if scale > 1 else ""),
        ),
    ]


def time_epoch(bench: Bench, batches: Iterable[Batch]) -> tuple[float, float]:
    """Seconds of an epoch, and its mean loss."""
    bench.wait()
    started = time.perf_counter()
    losses = [bench.step(batch) for batch in batches]
    bench.wait()
    return time.perf_counter() - started, float(torch.stack(losses).mean())


def time_prediction(recipe: Recipe, device: torch.device, minutes: float) -> Rows:
    """Windows a second in both modes."""
    tagger = make_untrained_tagger(recipe, 1, device)
    rates = time_windows(tagger, recipe, device, minutes, EPOCH_TURNS)
    window, hop = recipe.prediction.window_seconds, recipe.prediction.hop_seconds
    return [
        (
            f"prediction, {mode}",
            f"{rate:.0f} windows/s of {window:g} s every {hop:g} s: {rate * hop / 3600:.3g} h of sound a second",
        )
        for mode, rate in rates.items()
    ]


if __name__ == "__main__":
    run_script(main)
