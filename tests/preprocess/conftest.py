"""A small set of recordings for make features, and which of it are computed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.build import store_update
from preprocess.build.shard_task import ClipJob


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two classes of nine recordings of a tenth to half a second."""
    for number in range(18):
        folder = tmp_path / "data" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 1_600 + 400 * number)
        soundfile.write(folder / f"{number:02}.wav", noise, 16_000)
    return tmp_path / "data"


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


@pytest.fixture
def many(recordings: Path) -> Path:
    """300 recordings, links to the few: enough to be stopped among."""
    sources = sorted(recordings.rglob("??.wav"))
    for number in range(300):
        source = sources[number % 18]
        (source.parent / f"link{number}.wav").hardlink_to(source)
    return recordings
