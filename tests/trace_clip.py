"""The way of one clip from a recording to a row of the CSV: the functions it passes, in their modules.

    python -m tests.trace_clip

Traces `make features` and `make predict`, with their threads and child processes, for four short recordings and for
eight, and prints the project's functions that are called more often for eight, in the order of their first call (hops):
they are those that run again for each further clip. A return is a step into a module that the way had left before. The
last line counts all functions of both commands in the same way.
"""

import io
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import soundfile

from core.progress import ProgressLines
from core.sandbox import cancel_sandboxes
from predict import run
from preprocess import features
from tests.call_hook import ROOT, tracing
from train import fit

KEYS = (
    "--network.name cnn_small --training.epochs 1 --training.crop_seconds 0.5 --prediction.window_seconds 0.5 "
    "--data.layout folders --data.folds 2 --jobs 1 --name traced"
)
Hop = tuple[str, str]
"""Module and function."""


def end_sandboxes() -> None:
    with cancel_sandboxes():
        pass


def trace(n_clips: int) -> list[Hop]:
    """All calls of make features and make predict, in their order."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(n_clips):
            path = folder / "sounds" / "ab"[number % 2] / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(number).uniform(-0.1, 0.1, 16_000), 16_000)
        (folder / "traces").mkdir()
        (folder / "sitecustomize.py").write_text("from tests.call_hook import install\n\ninstall()\n")
        environment = {"TRACE_FOLDER": str(folder / "traces"), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        folders = {"data.folder": "sounds", "cache": "cache", "submissions": "submissions"}
        where = [text for option, part in folders.items() for text in (f"--{option}", str(folder / part))]
        arguments = [*where, *KEYS.split()]
        end_sandboxes()  # that do not write their calls there
        hide_progress = patch.object(ProgressLines, "display")  # how often it is called depends on the machine's speed
        with patch.dict(os.environ, environment), redirect_stdout(io.StringIO()), hide_progress:
            with tracing():
                features.main(arguments)
            fit.main(arguments)
            with tracing():
                run.main(arguments)
        end_sandboxes()
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
