"""Parts: rows as they come, floors, rows forgotten, and damage that is noticed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocess.store import shards as module
from preprocess.store.encoding import encoding_for, quantise, to_float32
from preprocess.store.schema import CorruptStore, EncodedFrames, RecipeMismatch
from preprocess.store.shards import read_shard, write_shard
from recipe import Features

FEATURES = Features(n_bins=16, storage="uint8")


def values(n_frames: int, seed: int, n_bins: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-90, 10, (n_frames, n_bins)).astype(np.float32)


def frames_in(path: Path, features: Features) -> list[EncodedFrames]:
    """The frames of each row of a part."""
    rows, corrupt = read_shard(path, features)
    assert not corrupt
    encoding = encoding_for(features)
    n_frames = sum(row.n_frames for row in rows)
    frames = np.fromfile(path, encoding.dtype, n_frames * encoding.n_bins).reshape(n_frames, encoding.n_bins)
    return np.split(frames, np.cumsum([row.n_frames for row in rows])[:-1])


@pytest.mark.parametrize("block_frames", [7, 4096])
@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_rows_are_written_with_their_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_frames: int, storage: str
) -> None:
    monkeypatch.setattr(module, "BLOCK_FRAMES", block_frames)
    features = Features(top_db=80.0, storage=storage)  # type: ignore[arg-type]
    encoding, path = encoding_for(features), tmp_path / "shards" / "0.shard"
    with write_shard(path, features) as shard:
        for seed in range(3):
            shard.add(values(20, seed))
            shard.add(values(11, seed + 10))
            shard.end_row(f"clip {seed}", 0, "1:1", 0.0, 1.0)
        shard.add(values(5, 99))
        shard.drop_rows_after(2)
        shard.add(values(9, 50))
        shard.end_row("last \udcff", 1, "2:2", -0.1, 1 / 3)
        assert not path.exists()
    rows, _ = read_shard(path, features)
    assert rows == shard.rows
    assert [row.clip for row in rows] == ["clip 0", "clip 1", "last \udcff"]
    expected = [np.concatenate([values(20, seed), values(11, seed + 10)]) for seed in range(2)] + [values(9, 50)]
    for got, frames in zip(frames_in(path, features), expected, strict=True):
        np.testing.assert_array_equal(got, quantise(np.maximum(frames, frames.max() - 80), encoding))
        assert (to_float32(got) * encoding.scale + encoding.offset).min() > frames.max() - 80.4
    assert list(path.parent.iterdir()) == [path]


def test_a_part_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), write_shard(tmp_path / "0.shard", FEATURES) as shard:
        shard.add(values(5, 0, 16))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_parts_of_other_features_are_told_by_key(tmp_path: Path) -> None:
    with write_shard(tmp_path / "0.shard", FEATURES):
        pass
    assert read_shard(tmp_path / "0.shard", FEATURES) == ([], set())
    with pytest.raises(RecipeMismatch, match=r"features\.storage was uint8, is float16"):
        read_shard(tmp_path / "0.shard", Features(n_bins=16))


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_part_that_is_not_what_was_written_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "0.shard"
    with write_shard(path, FEATURES) as shard:
        for seed in range(3):
            shard.add(values(4, seed, 16))
            shard.end_row(f"clip {seed}", 0, "1:1", 0.0, 1.0)
    whole = path.read_bytes()
    if data.draw(st.booleans(), "cut"):
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at])
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :])
    try:
        rows, corrupt = read_shard(path, FEATURES)
    except CorruptStore:
        return
    assert rows == shard.rows
    assert corrupt == {f"clip {at // 64}"}
