"""A set of sound rendered into a folder: claimed by its spec, each file whole, what is missing rendered by many."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from joblib import Parallel, delayed
from tqdm import tqdm

from core.errors import UserError
from core.files import atomic_write
from synth.synthesizer import SAMPLE_RATE_HZ

SPEC_NAME = "rendered.json"
Item = TypeVar("Item")


def claim_folder(folder: Path, spec: dict[str, Any]) -> None:
    """Write the spec into a new folder. Raises UserError for a folder that holds anything but a set of this spec."""
    path, wanted = folder / SPEC_NAME, json.dumps(spec)
    if path.exists():
        if path.read_text(encoding="utf-8").strip() != wanted:
            raise UserError(f"{path} is of another set than {wanted}: choose another --folder, or delete this one")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something that was not rendered here: choose another --folder, or delete it")
    else:
        with atomic_write(path) as temporary:
            temporary.write_text(wanted + "\n", encoding="utf-8")


@contextmanager
def name_write_errors(folder: Path) -> Iterator[None]:
    """Within it, what cannot be written is a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be written ({error.strerror}): see --folder") from None


def render_items(render: Callable[[Item, Path], None], items: Sequence[Item], folder: Path, jobs: int) -> None:
    """Render items into a folder by so many processes, and show how far it is."""
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(render)(item, folder) for item in items)
    for _ in tqdm(work, total=len(items), desc="rendering", unit="item", disable=None):
        pass


def write_sound(path: Path, sound: np.ndarray) -> None:
    """Write float64 [n_samples] at SAMPLE_RATE_HZ in 16 bits, in the format of the path's suffix, atomically."""
    encoded = BytesIO()  # so that a full disk is an OSError, and not one of libsndfile's
    soundfile.write(encoded, sound, SAMPLE_RATE_HZ, subtype="PCM_16", format=path.suffix[1:].upper())
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
