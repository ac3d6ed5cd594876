"""Parts: rows as they come, floors, rows forgotten, and damage that is noticed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocess.store import shards as module
from preprocess.store.encoding import as_float32, coding_of, encode
from preprocess.store.schema import Damaged, OtherRecipe, Stored
from preprocess.store.shards import read_part, written_part
from recipe import Features

FEATURES = Features(n_bins=16, storage="uint8")


def values(n_frames: int, seed: int, n_bins: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-90, 10, (n_frames, n_bins)).astype(np.float32)


def frames_in(path: Path, features: Features) -> list[Stored]:
    """The frames of each row of a part."""
    rows, damaged = read_part(path, features)
    assert not damaged
    coding = coding_of(features)
    n_frames = sum(row.n_frames for row in rows)
    frames = np.fromfile(path, coding.dtype, n_frames * coding.n_bins).reshape(n_frames, coding.n_bins)
    return np.split(frames, np.cumsum([row.n_frames for row in rows])[:-1])


@pytest.mark.parametrize("block_frames", [7, 4096])
@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_rows_are_written_with_their_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_frames: int, storage: str
) -> None:
    monkeypatch.setattr(module, "BLOCK_FRAMES", block_frames)
    features = Features(top_db=80.0, storage=storage)  # type: ignore[arg-type]
    coding, path = coding_of(features), tmp_path / "parts" / "0.part"
    with written_part(path, features) as part:
        for seed in range(3):
            part.add(values(20, seed))
            part.add(values(11, seed + 10))
            part.end_row(f"clip {seed}", 0, "1:1", 0.0, 1.0)
        part.add(values(5, 99))
        part.cut(2)
        part.add(values(9, 50))
        part.end_row("last \udcff", 1, "2:2", -0.1, 1 / 3)
        assert not path.exists()
    rows, _ = read_part(path, features)
    assert rows == part.rows
    assert [row.clip for row in rows] == ["clip 0", "clip 1", "last \udcff"]
    expected = [np.concatenate([values(20, seed), values(11, seed + 10)]) for seed in range(2)] + [values(9, 50)]
    for got, frames in zip(frames_in(path, features), expected, strict=True):
        np.testing.assert_array_equal(got, encode(np.maximum(frames, frames.max() - 80), coding))
        assert (as_float32(got) * coding.scale + coding.offset).min() > frames.max() - 80.4
    assert list(path.parent.iterdir()) == [path]


def test_a_part_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_part(tmp_path / "0.part", FEATURES) as part:
        part.add(values(5, 0, 16))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_parts_of_other_features_are_told_by_key(tmp_path: Path) -> None:
    with written_part(tmp_path / "0.part", FEATURES):
        pass
    assert read_part(tmp_path / "0.part", FEATURES) == ([], set())
    with pytest.raises(OtherRecipe, match=r"features\.storage was uint8, is float16"):
        read_part(tmp_path / "0.part", Features(n_bins=16))


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_part_that_is_not_what_was_written_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "0.part"
    with written_part(path, FEATURES) as part:
        for seed in range(3):
            part.add(values(4, seed, 16))
            part.end_row(f"clip {seed}", 0, "1:1", 0.0, 1.0)
    whole = path.read_bytes()
    if data.draw(st.booleans(), "cut"):
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :])
    try:
        rows, damaged = read_part(path, FEATURES)
    except Damaged:
        return
    assert rows == part.rows
    assert damaged == {f"clip {at // 64}"}
