"""A small set of recordings for make features, and which of it are computed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.build import store_update
from preprocess.build.shard_task import ClipJob


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    return write_recordings(tmp_path / "data")


def write_recordings(folder: Path) -> Path:
    """Write two classes of nine recordings of a tenth to half a second; returns the folder."""
    for number in range(18):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 1_600 + 400 * number)
        soundfile.write(path, noise, 16_000)
    return folder


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips that were computed, filled as they are."""
    clips: list[str] = []

    def compute_missing(missing: list[ClipJob], *rest: object) -> object:
        clips.extend(sorted(one.clip for one in missing))
        return real(missing, *rest)  # type: ignore[arg-type]

    real = store_update.compute_missing
    monkeypatch.setattr(store_update, "compute_missing", compute_missing)
    return clips
