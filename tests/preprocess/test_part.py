"""Parts: rows in memory or on the disk, floors, and rows forgotten."""

from pathlib import Path

import numpy as np
import pytest

from preprocess import part as module
from preprocess.coding import coding_of, decode_frames, encode
from preprocess.part import Part
from preprocess.store import open_store
from recipe import Features


def values(n_frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-90, 10, (n_frames, 128)).astype(np.float32)


@pytest.mark.parametrize("memory_bytes", [1, 1 << 26])
@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_rows_are_written_with_their_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int, storage: str
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", memory_bytes)
    monkeypatch.setattr(module, "BLOCK_FRAMES", 7)
    features = Features(top_db=80.0, storage=storage)  # type: ignore[arg-type]
    coding = coding_of(features)
    part = Part(tmp_path / "parts" / "0.h5", features, coding)
    for seed in range(3):
        part.add(values(20, seed))
        part.add(values(11, seed + 10))
        part.end_row(f"clip {seed}", 0, "1:1", 0.0, 1.0)
    part.add(values(5, 99))
    part.cut(2)
    part.add(values(9, 50))
    part.end_row("last", 0, "1:1", 0.0, 1.0)
    part.write()
    with open_store(part.path, features) as store:
        assert store.clips == ["clip 0", "clip 1", "last"]
        expected = [np.concatenate([values(20, seed), values(11, seed + 10)]) for seed in range(2)] + [values(9, 50)]
        for row, frames in enumerate(expected):
            np.testing.assert_array_equal(store.read(row), encode(np.maximum(frames, frames.max() - 80), coding))
            assert decode_frames(store.read(row), coding).min() > frames.max() - 80.4
    assert [path.name for path in part.path.parent.iterdir()] == ["0.h5"]
