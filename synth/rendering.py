"""A set of sound rendered into a folder: claimed by its plan, each file whole, what is missing rendered by many."""

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

from core.errors import BadInput
from core.files import written_whole
from synth.synthesizer import RATE_HZ

PLAN = "rendered.json"
Take = TypeVar("Take")


def claim_folder(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan into a new folder. Raises BadInput for a folder that holds anything but a set of this plan."""
    path, wanted = folder / PLAN, json.dumps(plan)
    if path.exists():
        if path.read_text(encoding="utf-8").strip() != wanted:
            raise BadInput(f"{path} is of another set than {wanted}: choose another --folder, or delete this one")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} holds something that was not rendered here: choose another --folder, or delete it")
    else:
        with written_whole(path) as temporary:
            temporary.write_text(wanted + "\n", encoding="utf-8")


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Within it, what cannot be written is a BadInput that names it."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{error.filename or folder} cannot be written ({error.strerror}): see --folder") from None


def render_takes(render: Callable[[Take, Path], None], takes: Sequence[Take], folder: Path, jobs: int) -> None:
    """Render takes into a folder by so many processes, and show how far it is."""
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(render)(take, folder) for take in takes)
    for _ in tqdm(work, total=len(takes), desc="rendering", unit="take", disable=None):
        pass


def write_sound(path: Path, sound: np.ndarray) -> None:
    """Write float64 [n_samples] at RATE_HZ in 16 bits, in the format of the path's suffix, whole or not at all."""
    encoded = BytesIO()  # so that a full disk is an OSError, and not one of libsndfile's
    soundfile.write(encoded, sound, RATE_HZ, subtype="PCM_16", format=path.suffix[1:].upper())
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
