"""Shards: rows as they come, what a failed clip left, and damage that is noticed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preprocess.store.encoding import count_frame_bytes, encoding_for, quantise
from preprocess.store.schema import CorruptStore, EncodedFrames, RecipeMismatch, Row, features_digest
from preprocess.store.shards import append_frames, read_shard, write_shard_table
from recipe import Features

FEATURES = Features(n_bins=16, storage="uint8")


def values(n_frames: int, seed: int, n_bins: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-90, 10, (n_frames, n_bins)).astype(np.float32)


def frames_in(path: Path, features: Features) -> list[EncodedFrames]:
    """The frames of each row of a shard."""
    rows, corrupt = read_shard(path, features)
    assert not corrupt
    encoding = encoding_for(features)
    n_frames = sum(row.n_frames for row in rows)
    frames = np.fromfile(path, encoding.dtype, n_frames * encoding.n_bins).reshape(n_frames, encoding.n_bins)
    return np.split(frames, np.cumsum([row.n_frames for row in rows])[:-1])


def bytes_of(rows: list[Row]) -> int:
    """Of the frames of rows."""
    return count_frame_bytes(sum(row.n_frames for row in rows), FEATURES)


def append_rows(path: Path, features: Features, position: int, clips: Mapping[str, list[np.ndarray]]) -> list[Row]:
    """Write the frames of clips, block by block, to a file from a byte on, as a sandbox does."""
    with path.open("r+b") as file:
        file.seek(position)
        return [
            Row(clip, 0, "1:1", -0.1, 1 / 3, *append_frames(file, features, blocks)) for clip, blocks in clips.items()
        ]


def write_shard(path: Path, features: Features, clips: Mapping[str, list[np.ndarray]]) -> list[Row]:
    path.touch()
    rows = append_rows(path, features, 0, clips)
    with path.open("r+b") as file:
        write_shard_table(file, features, features_digest(features), rows)
    return rows


def small_shard(path: Path) -> list[Row]:
    """Three clips of 64 bytes."""
    return write_shard(path, FEATURES, {f"clip {seed}": [values(4, seed, 16)] for seed in range(3)})


@pytest.mark.parametrize("storage", ["float16", "uint8"])
def test_rows_are_written_as_they_come(tmp_path: Path, storage: str) -> None:
    features = Features(storage=storage)  # type: ignore[arg-type]
    encoding, path = encoding_for(features), tmp_path / "0.shard"
    clips = {f"clip {seed}": [values(20, seed), values(11, seed + 10)] for seed in range(2)}
    clips["last \udcff"] = [values(0, 0), values(9, 50)]
    rows = write_shard(path, features, clips)
    assert read_shard(path, features) == (rows, set())
    assert [row.clip for row in rows] == list(clips)
    assert (rows[0].start_s, rows[0].duration_s, rows[0].n_frames) == (-0.1, 1 / 3, 31)
    for got, blocks in zip(frames_in(path, features), clips.values(), strict=True):
        np.testing.assert_array_equal(got, quantise(np.concatenate(blocks), encoding))


def test_what_a_failed_clip_left_is_written_over_or_cut_off(tmp_path: Path) -> None:
    path, other = tmp_path / "0.shard", tmp_path / "other.shard"
    path.touch()
    rows = append_rows(path, FEATURES, 0, {"first": [values(4, 0, 16)]})
    append_rows(path, FEATURES, bytes_of(rows), {"failed": [values(50, 1, 16)]})
    rows += append_rows(path, FEATURES, bytes_of(rows), {"second": [values(4, 2, 16)]})
    append_rows(path, FEATURES, bytes_of(rows), {"failed too": [values(9, 3, 16)]})
    with path.open("r+b") as file:
        write_shard_table(file, FEATURES, features_digest(FEATURES), rows)
    write_shard(other, FEATURES, {"first": [values(4, 0, 16)], "second": [values(4, 2, 16)]})
    assert path.read_bytes() == other.read_bytes()


def test_shards_of_other_features_are_told(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.shard", FEATURES, {})
    assert read_shard(tmp_path / "0.shard", FEATURES) == ([], set())
    with pytest.raises(RecipeMismatch, match="of other features"):
        read_shard(tmp_path / "0.shard", Features(n_bins=16))


def test_a_shard_without_its_table_is_none(tmp_path: Path) -> None:
    path = tmp_path / "0.shard"
    path.touch()
    append_rows(path, FEATURES, 0, {"clip": [values(4, 0, 16)]})
    with pytest.raises(CorruptStore, match="it does not end as a shard does"):
        read_shard(path, FEATURES)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shard_that_is_not_what_was_written_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "0.shard"
    written = small_shard(path)
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
    assert rows == written
    assert corrupt == {f"clip {at // 64}"}
