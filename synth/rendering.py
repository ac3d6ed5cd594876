"""Renders a set of sounds into a folder that is claimed by its spec: missing files only, in parallel, atomically."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from core.errors import UserError
from core.file_lock import file_lock
from core.files import atomic_write
from core.parallel import run_sandboxed
from core.progress import progress_bar
from recipe.cli import parse_own_options, resolve_n_jobs
from synth.synthesizer import SAMPLE_RATE_HZ, find_soundfont

SPEC_NAME = "rendered.json"
Item = TypeVar("Item")


def parse_options(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """A script's own options, --seed and --jobs (resolved). Raises UserError."""
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="Another seed gives other sounds.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    options = parse_own_options(parser, arguments)
    options.jobs = resolve_n_jobs(options.jobs)
    return options


def render_items(
    render: Callable[[Item, Path], None], items: Sequence[Item], folder: Path, spec: dict[str, Any], jobs: int
) -> None:
    """Render items into a folder of the set `spec`, side by side, with a progress bar. Raises UserError.

    Sandboxes import `render`, which therefore must not be a script's.
    """
    find_soundfont()
    tasks = [(item, folder.absolute()) for item in items]
    _claim_folder(folder, spec)
    with file_lock(folder.parent / f".{folder.name}.lock", f"rendering of {folder.name}"):
        for leftover in folder.rglob(".*.tmp"):  # of a process that was killed
            leftover.unlink()
        with progress_bar(len(items), "rendering", "item") as bar, closing(run_sandboxed(render, tasks, jobs)) as work:
            for _ in work:
                bar.update()


def _claim_folder(folder: Path, spec: dict[str, Any]) -> None:
    """Write the spec into a new folder. Raises UserError for a folder that holds anything but a set of this spec."""
    path, content = folder / SPEC_NAME, json.dumps(spec)
    if path.exists():
        if path.read_text(encoding="utf-8").strip() != content:
            raise UserError(f"{path} is of another set than {content}: choose another --folder, or delete this one")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something that was not rendered here: choose another --folder, or delete it")
    else:
        with atomic_write(path) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")


def write_sound(path: Path, sound: np.ndarray) -> None:
    """Write float64 [n_samples] at SAMPLE_RATE_HZ in 16 bits, in the format of the path's suffix, atomically."""
    encoded = BytesIO()  # so that a full disk is an OSError, and not one of libsndfile's
    soundfile.write(encoded, sound, SAMPLE_RATE_HZ, subtype="PCM_16", format=path.suffix[1:].upper())
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
