"""The way of one clip from a recording to a row of the CSV: which functions it passes, in which modules.

    python -m tests.trace_clip

Traces `make features` and `make predict` of three short recordings, their child processes too, and prints the project's
own functions in the order in which they are first entered (hops), and how often the way goes on in a module that it had
left before (returns).
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
HOOK = """
import os, sys, threading, time

def hook(frame, event, argument, seen=set()):
    code = frame.f_code
    if event == "call" and code not in seen:
        seen.add(code)
        name = getattr(code, "co_qualname", code.co_name)
        path = os.path.relpath(code.co_filename, {root!r})
        if path.split(os.sep)[0] in {floors!r} and not code.co_name.startswith("<"):
            out.write(f"{{time.monotonic()}} {{path}} {{name}}\\n")

if os.environ.get("TRACE_FOLDER"):
    out = open(os.path.join(os.environ["TRACE_FOLDER"], f"{{os.getpid()}}.txt"), "w", buffering=1)
    sys.setprofile(hook)
    threading.setprofile(hook)
"""
FLOORS = ("core", "recipe", "preprocess", "train", "predict")
SMALL = (
    "--network.name cnn_small --training.epochs 1 --training.crop_seconds 0.5 --prediction.window_seconds 0.5 "
    "--data.layout folders --data.folds 2 --device cpu --jobs 1"
)


def trace() -> list[tuple[str, str]]:
    """(module, function) of the way of one clip, in the order of first entry."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(4):
            path = folder / "sounds" / "ab"[number % 2] / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(number).uniform(-0.1, 0.1, 16_000), 16_000)
        (folder / "hook").mkdir()
        (folder / "traces").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK.format(root=str(ROOT), floors=FLOORS))
        where = ["--data.folder", str(folder / "sounds"), "--cache", str(folder / "cache"), "--name", "traced"]
        where += ["--submissions", str(folder / "submissions"), *SMALL.split()]
        run(folder, "preprocess.features", without(where, "--device"), traced=True)
        run(folder, "train.fit", where, traced=False)
        run(folder, "predict.run", where, traced=True)
        lines = [line for path in (folder / "traces").iterdir() for line in path.read_text().splitlines()]
    entries = [line.split(maxsplit=2)[1:] for line in sorted(lines, key=lambda line: float(line.split()[0]))]
    return list(dict.fromkeys((module, function) for module, function in entries))


def without(options: Sequence[str], name: str) -> list[str]:
    at = options.index(name)
    return [*options[:at], *options[at + 2 :]]


def run(folder: Path, script: str, options: Sequence[str], *, traced: bool) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder / "hook")}
    if traced:
        environment["TRACE_FOLDER"] = str(folder / "traces")
    subprocess.run([sys.executable, "-m", script, *options], cwd=ROOT, env=environment, check=True, capture_output=True)


def count(hops: Sequence[tuple[str, str]]) -> tuple[int, int, int]:
    """Hops, modules, and returns to modules that were left."""
    moves = [module for before, (module, _) in zip([("", ""), *hops], hops, strict=False) if module != before[0]]
    return len(hops), len(set(moves)), len(moves) - len(set(moves))


if __name__ == "__main__":
    hops = trace()
    for module, function in hops:
        print(f"{module:44} {function}")
    print("{} hops, {} modules, {} returns".format(*count(hops)))
