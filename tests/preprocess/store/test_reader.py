"""The store: what was written is read, and any harm to it is noticed."""

import fcntl
import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from preprocess.store import reader as module
from preprocess.store import schema, writer
from preprocess.store.integrity import write_integrity_header
from preprocess.store.reader import open_store
from preprocess.store.schema import CorruptStore, EncodedFrames, FrameEncoding, RecipeMismatch
from preprocess.store.writer import write_store
from recipe import Features
from tests.row_sources import frames_digest, row_source_of

FEATURES = Features()
N_BINS = 5


def write(
    path: Path, lengths: list[int], dtype: str = "float16", scale: float = 1.0, offset: float = 0.0
) -> list[EncodedFrames]:
    """A store of rows of so many random frames, in pairs of variants; returns their frames."""
    random = np.random.default_rng(0)
    rows = [(random.uniform(-90, 90, (length, N_BINS))).astype(dtype) for length in lengths]
    row_sources = [
        row_source_of(
            frames, path, f"clip «{index // 2}»,\n{index // 2}.wav", index % 2, f"{index}:1", index / 4, duration_s=9.5
        )
        for index, frames in enumerate(rows)
    ]
    write_store(path, FEATURES, FrameEncoding(np.dtype(dtype), N_BINS, 12.5, scale, offset), row_sources)
    return rows


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, list[EncodedFrames]]:
    path = tmp_path / "features.h5"
    return path, write(path, [3, 0, 40, 1])


@pytest.mark.parametrize(("dtype", "scale", "offset"), [("float16", 1, 0), ("int8", 0.5, -3), ("int16", 1 / 32768, 0)])
def test_everything_written_is_read(tmp_path: Path, dtype: str, scale: float, offset: float) -> None:
    path = tmp_path / "features.h5"
    rows = write(path, [3, 0, 40, 1], dtype, scale, offset)
    whole = np.concatenate(rows)
    with open_store(path, FEATURES) as store:
        assert store.clips == [f"clip «{number}»,\n{number}.wav" for number in (0, 0, 1, 1)]
        assert store.variants.tolist() == [0, 1, 0, 1]
        assert store.offsets.tolist() == [0, 3, 3, 43, 44]
        assert store.sources == ["0:1", "1:1", "2:1", "3:1"]
        assert store.start_s.tolist() == [0, 0.25, 0.5, 0.75]
        assert store.duration_s.tolist() == [9.5] * 4
        assert (store.n_bins, store.dtype, store.frames_per_second) == (N_BINS, np.dtype(dtype), 12.5)
        assert (store.scale, store.offset) == (scale, offset)
        np.testing.assert_array_equal(store.memory_map(range(4)), whole)
        for index, frames in enumerate(rows):
            np.testing.assert_array_equal(store.read(index), frames)
            assert store.rows()[index].digest == frames_digest(frames)
        assert store.corrupt_rows() == []


def test_a_store_is_read_without_locks_which_some_file_systems_lack(stored: tuple[Path, list[EncodedFrames]]) -> None:
    path, rows = stored
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with open_store(path) as store:
            assert store.read(2).tobytes() == rows[2].tobytes()


@pytest.mark.parametrize("read_bytes", [1, 70, 1 << 22])
def test_rows_in_any_order_are_read_end_to_end_in_blocks_of_any_size(
    stored: tuple[Path, list[EncodedFrames]], monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    monkeypatch.setattr(module, "READ_BYTES", read_bytes)
    path, rows = stored
    with open_store(path) as store:
        assert store.corrupt_rows() == []
        for order in ([0, 1, 2, 3], [2, 3], [3, 0, 2], []):
            frames = np.empty((sum(len(rows[row]) for row in order), N_BINS), np.float16)
            store.read_into(frames, order)
            np.testing.assert_array_equal(frames, np.concatenate([frames[:0], *(rows[row] for row in order)]))


def test_other_programs_read_it(stored: tuple[Path, list[EncodedFrames]]) -> None:
    path, rows = stored
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["frames"][:], np.concatenate(rows))
        assert file["clip"].asstr()[2] == "clip «1»,\n1.wav"
        assert file["frames"].chunks is None and file["frames"].compression is None


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", [3, 40])
    write(tmp_path / "b.h5", [3, 40])
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def harm_is_noticed(path: Path) -> bool:
    try:
        with open_store(path) as store:
            store.memory_map(range(len(store.clips)))
    except CorruptStore as error:
        assert str(path) in str(error)
        assert "run make features again" in str(error)
        return True
    return False


def test_100_stores_cut_short_are_noticed(stored: tuple[Path, list[EncodedFrames]]) -> None:
    path, _ = stored
    content = path.read_bytes()
    for stop in np.linspace(0, len(content) - 1, 100).astype(int):
        path.write_bytes(content[:stop])
        assert harm_is_noticed(path), stop
    path.write_bytes(content + b"\x00")
    assert harm_is_noticed(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_100_flipped_bits_are_noticed(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    path = tmp_path_factory.mktemp("flips") / "features.h5"
    write(path, [30, 20])
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert harm_is_noticed(path)


def test_a_damaged_row_is_named_and_the_others_are_read(stored: tuple[Path, list[EncodedFrames]]) -> None:
    path, rows = stored
    with open_store(path) as store:
        at = store.frames_at + 10 * N_BINS * 2
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with open_store(path) as store:
        assert store.corrupt_rows() == [2]
        assert store.corrupt_rows([0, 3]) == []
        np.testing.assert_array_equal(store.read(0), rows[0])
        with pytest.raises(CorruptStore, match="the frames of 'clip «1»"):
            store.read(2)
        with pytest.raises(CorruptStore, match="the frames of 'clip «1»"):
            store.read_into(np.empty((44, N_BINS), np.float16), range(4))


def test_other_features_are_refused_by_key(stored: tuple[Path, list[EncodedFrames]]) -> None:
    changes = r"features.hop_length was 690, is 512, .*n_bins was 128, is 64"
    with pytest.raises(RecipeMismatch, match=changes), open_store(stored[0], Features(hop_length=512, n_bins=64)):
        pass


def test_a_store_of_an_earlier_version_s_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(writer, "SCHEMA", schema.SCHEMA - 1)
        write(tmp_path / "features.h5", [3])
    with pytest.raises(CorruptStore, match=f"no feature store of schema {schema.SCHEMA}; run make features again"):
        open_store(tmp_path / "features.h5", FEATURES).__enter__()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run make features first"), open_store(tmp_path / "none.h5"):
        pass
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = np.zeros(3)
    with pytest.raises(CorruptStore, match="does not begin as a feature store"), open_store(tmp_path / "other.h5"):
        pass


@pytest.mark.parametrize("how", ["external", "virtual", "soft link", "external link", "group"])
@pytest.mark.parametrize("name", ["frames", "clip"])
def test_a_store_that_points_outside_itself_is_refused(
    stored: tuple[Path, list[EncodedFrames]], how: str, name: str
) -> None:
    """Even where its integrity header fits."""
    path, _ = stored
    secret = path.with_name("secret.h5")
    with h5py.File(secret, "w") as file:
        file["frames"] = np.zeros((44, N_BINS), np.float16)
    with h5py.File(path, "r+") as file:
        del file[name]
        if how == "external":
            file.create_dataset(name, (44, N_BINS), np.float16, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((44, N_BINS), np.float16)
            layout[:] = h5py.VirtualSource(secret, "frames", (44, N_BINS))
            file.create_virtual_dataset(name, layout)
        elif how == "soft link":
            file[name] = h5py.SoftLink("/digest")
        elif how == "external link":
            file[name] = h5py.ExternalLink(secret, "frames")
        else:
            file.create_group(name)
    write_integrity_header(path, path.stat().st_size, 0)
    with (
        pytest.raises(CorruptStore, match=f"its {name} (are not in the file itself|lie in other files)"),
        open_store(path),
    ):
        pass


def test_a_row_that_is_not_what_its_digest_says_is_not_written(tmp_path: Path) -> None:
    frames = np.zeros((4, N_BINS), np.float16)
    other = row_source_of(frames + 1, tmp_path / "0.shard", "a")
    row_source = replace(row_source_of(frames, tmp_path, "a"), read_into=other.read_into, origin=other.origin)
    with pytest.raises(CorruptStore, match=r"0.shard: the frames of 'a'"):
        write_store(tmp_path / "features.h5", FEATURES, FrameEncoding(np.dtype("float16"), N_BINS, 1.0), [row_source])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [CorruptStore(Path("a.h5"), "cut"), RecipeMismatch(Path("a.h5"), "features.n_fft was 1")]
)
def test_errors_pass_from_one_process_to_another(error: CorruptStore | RecipeMismatch) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip", np.zeros(4)),
        ("frames_per_second", "many"),
        ("features", "{"),
        ("features", None),
    ],
)
def test_a_store_whose_tables_are_of_another_kind_is_refused(
    stored: tuple[Path, list[EncodedFrames]], name: str, value: object
) -> None:
    path = stored[0]
    with h5py.File(path, "r+") as file:
        array_start, array_bytes = file["frames"].id.get_offset(), file["frames"].nbytes
        if name in file:
            del file[name]
            file.create_dataset(name, data=value)
        elif value is None:
            del file.attrs[name]
        else:
            file.attrs[name] = value
    write_integrity_header(path, array_start, array_bytes)
    with pytest.raises(CorruptStore, match="run make features again"), open_store(path, FEATURES):
        pass
