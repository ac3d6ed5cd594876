"""The way of one clip from a recording to a row of the CSV: the functions it passes, in their modules.

    python -m tests.trace_clip

Traces `make features` and `make predict`, with their threads and child processes, for four short recordings and for
eight, and prints the project's functions that are called more often for eight, in the order of their first call (hops):
they are those that run again for each further clip. A return is a step into a module that the way had left before. The
last line counts all functions of both commands in the same way.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from train import fit

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "recipe", "preprocess", "train", "predict")
HOOK = """
import os, sys, threading, time

names = {{}}  # of code objects: the hook is called for every function of every library

def name_of(code):
    path = os.path.relpath(code.co_filename, {root!r})
    is_function = code.co_flags & 1 and not code.co_name.startswith("<")  # and no class body or comprehension
    return f"{{path}} {{code.co_qualname}}" if is_function and path.split(os.sep)[0] in {floors!r} else ""

def hook(frame, event, argument):
    if event == "call":
        code = frame.f_code
        name = names.get(code)
        if name is None:
            name = names[code] = name_of(code)
        if name:
            out.write(f"{{time.monotonic()}} {{name}}\\n")

if os.environ.get("TRACE_FOLDER"):
    out = open(os.path.join(os.environ["TRACE_FOLDER"], f"{{os.getpid()}}.txt"), "w", buffering=1)
    sys.setprofile(hook)
    threading.setprofile(hook)
"""
"""sitecustomize.py of every process."""
KEYS = (
    "--network.name cnn_small --training.epochs 1 --training.crop_seconds 0.5 --prediction.window_seconds 0.5 "
    "--data.layout folders --data.folds 2 --jobs 1 --name traced"
)
Hop = tuple[str, str]
"""Module and function."""


def trace(n_clips: int) -> list[Hop]:
    """All calls of make features and make predict, in their order."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(n_clips):
            path = folder / "sounds" / "ab"[number % 2] / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(number).uniform(-0.1, 0.1, 16_000), 16_000)
        for part in ("hook", "traces"):
            (folder / part).mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK.format(root=str(ROOT), floors=FLOORS))
        folders = {"data.folder": "sounds", "cache": "cache", "submissions": "submissions"}
        where = [text for option, part in folders.items() for text in (f"--{option}", str(folder / part))]
        environment = os.environ | {"PYTHONPATH": str(folder / "hook"), "TRACE_FOLDER": str(folder / "traces")}
        for script in ("preprocess.features", "predict.run"):
            command = [sys.executable, "-m", script, *where, *KEYS.split()]
            subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
            if script == "preprocess.features":
                fit.main([*where, *KEYS.split()])
        lines = [line.split() for path in (folder / "traces").iterdir() for line in path.read_text().splitlines()]
    return [(module, function) for _, module, function in sorted(lines, key=lambda line: float(line[0]))]


def trace_clip() -> tuple[list[Hop], list[Hop]]:
    """The way of one clip, and all functions of both commands."""
    few, many = trace(4), trace(8)
    n_few, n_many = Counter(few), Counter(many)
    hops = list(dict.fromkeys(many))
    return [hop for hop in hops if n_many[hop] > n_few[hop]], hops


def count(hops: Sequence[Hop]) -> tuple[int, int, int]:
    """Hops, modules, and returns to modules that were left."""
    modules = [module for before, (module, _) in zip([("", ""), *hops], hops, strict=False) if module != before[0]]
    return len(hops), len(set(modules)), len(modules) - len(set(modules))


if __name__ == "__main__":
    way, everything = trace_clip()
    for module, function in way:
        print(f"{module:44} {function}")
    for title, hops in (("one clip", way), ("both commands", everything)):
        print("{}: {} hops, {} modules, {} returns".format(title, *count(hops)))
