"""Renders a set of sounds into a folder that is claimed by its spec: missing files only, in parallel, atomically."""

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from joblib import Parallel, delayed
from tqdm import tqdm

from core.errors import UserError
from core.files import atomic_write
from recipe.cli import OptionParser, resolve_n_jobs
from synth.synthesizer import SAMPLE_RATE_HZ, find_soundfont

SPEC_NAME = "rendered.json"
Item = TypeVar("Item")


def parse_options(parser: OptionParser, arguments: Sequence[str] | None, **minimums: int) -> Namespace:
    """A script's own options, --seed and --jobs (resolved). Raises UserError for a value below its minimum."""
    parser.add_argument("--seed", type=int, default=0, help="Another seed gives other sounds.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    options = parser.parse_args(arguments)
    for name, minimum in {"seed": 0, **minimums}.items():
        value = getattr(options, name)
        if value is not None and value < minimum:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {minimum}")
    options.jobs = resolve_n_jobs(options.jobs)
    return options


def render_items(
    render: Callable[[Item, Path], None], items: Sequence[Item], folder: Path, spec: dict[str, Any], jobs: int
) -> None:
    """Render items into a folder of the set `spec`, in parallel processes, with a progress bar. Raises UserError."""
    find_soundfont()
    try:
        _claim_folder(folder, spec)
        work = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(render)(item, folder) for item in items)
        for _ in tqdm(work, total=len(items), desc="rendering", unit="item", disable=None):
            pass
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written ({error.strerror}): see --folder") from None


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
