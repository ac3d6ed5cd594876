"""Frames in memory are the store's, wherever they are kept."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import UserError
from preprocess.store.reader import open_store
from recipe import Features, Training
from tests.make_commands import ROOT
from tests.train.store_factories import write_small_store
from train.data.crops import ShortClipPadding, draw_crops, gather_crops
from train.data.frame_bank import FrameBank, load_frame_bank
from train.data.random_streams import seeded_generator

LENGTHS = {("a", 0): 7, ("b", 0): 30, ("a", 2): 9, ("c", 0): 1, ("a", 1): 8, ("d", 0): 21, ("b", 1): 30}


@pytest.mark.parametrize(("dtype", "scale", "offset"), [("float16", 1, 0), ("uint8", 0.4, -100), ("int16", 2**-15, 0)])
def test_values_are_the_stored_ones_in_their_unit(tmp_path: Path, dtype: str, scale: float, offset: float) -> None:
    path = tmp_path / "features.h5"
    stored = write_small_store(path, LENGTHS, dtype=dtype, scale=scale, offset=offset)
    frame_bank = load_frame_bank(path, Features(), list("abcd"), "cpu")
    assert frame_bank.frames.dtype == torch.from_numpy(stored["a", 0]).dtype
    assert frame_bank.n_bins == 6
    for row, clip in enumerate(frame_bank.clips):
        expected = stored[clip, 0].astype(np.float32) * np.float32(scale) + np.float32(offset)
        frames = frame_bank.clip_frames(row)
        assert frames.dtype == torch.float32
        np.testing.assert_allclose(frames.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_rows_follow_the_asked_order_and_variants_stand_together(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    stored = write_small_store(path, LENGTHS)
    frame_bank = load_frame_bank(path, Features(), ["d", "unreadable", "a"], "cpu")
    assert frame_bank.clips == ["d", "a"]
    assert frame_bank.first_variant.tolist() == [0, 1, 4]
    expected = [stored["d", 0], stored["a", 0], stored["a", 1], stored["a", 2]]
    assert len(frame_bank.frames) == sum(map(len, expected)), "frames of other clips are not loaded"
    for start, length, frames in zip(frame_bank.offsets.tolist(), frame_bank.lengths.tolist(), expected, strict=True):
        np.testing.assert_array_equal(frame_bank.frames[start : start + length].numpy(), frames)


@pytest.mark.parametrize("moment_values", [1, 50, 1 << 20])
@pytest.mark.parametrize(("dtype", "scale", "offset"), [("float16", 1, 0), ("uint8", 0.4, -100), ("int16", 2**-15, 0)])
def test_moments_are_of_all_variants_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment_values: int, dtype: str, scale: float, offset: float
) -> None:
    monkeypatch.setattr("train.data.frame_bank.MOMENT_VALUES", moment_values)
    stored = write_small_store(tmp_path / "features.h5", LENGTHS, dtype=dtype, scale=scale, offset=offset)
    frame_bank = load_frame_bank(tmp_path / "features.h5", Features(), list("abcd"), "cpu", host_bytes=0)
    values = np.concatenate([stored["d", 0], *(stored["a", variant] for variant in range(3))]) * float(scale) + offset
    mean, variance = frame_bank.bin_moments([3, 0])
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, values.astype(np.float64).var(0), rtol=1e-5)


def test_no_clip_in_the_store_is_said(tmp_path: Path) -> None:
    write_small_store(tmp_path / "features.h5", LENGTHS)
    with pytest.raises(UserError, match=r"features\.h5: holds none of the 2 clips"):
        load_frame_bank(tmp_path / "features.h5", Features(), ["x", "y"], "cpu")


def test_a_clip_without_frames_is_said(tmp_path: Path) -> None:
    write_small_store(tmp_path / "features.h5", {("a", 0): 3, ("b", 0): 0})
    with pytest.raises(UserError, match="no frames"):
        load_frame_bank(tmp_path / "features.h5", Features(), ["a", "b"], "cpu")


def some_crops(frame_bank: FrameBank, short_clip_padding: ShortClipPadding) -> torch.Tensor:
    rows = torch.arange(len(frame_bank.clips)).repeat(20)
    training = Training(short_clip_padding=short_clip_padding)
    positions = draw_crops(frame_bank, rows, 12, training, seeded_generator(frame_bank.device, "test", 3))
    return frame_bank.dequantise(gather_crops(frame_bank, positions, 12, short_clip_padding))


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int16"])
@pytest.mark.parametrize("short_clip_padding", ["random_tile", "pad", "tile"])
def test_what_does_not_fit_is_read_from_the_file_and_gives_the_same_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: str, short_clip_padding: ShortClipPadding
) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, LENGTHS, dtype=dtype)
    in_memory = load_frame_bank(path, Features(), ["d", "a", "c"], "cpu")
    assert not in_memory.offloaded
    assert capsys.readouterr().err == ""
    mapped = load_frame_bank(path, Features(), ["d", "a", "c"], "cpu", device_bytes=0, host_bytes=1)
    assert mapped.offloaded
    assert capsys.readouterr().err.count("\n") == 1
    torch.testing.assert_close(
        some_crops(mapped, short_clip_padding), some_crops(in_memory, short_clip_padding), rtol=0, atol=0
    )
    for row in range(3):
        assert torch.equal(mapped.clip_frames(row), in_memory.clip_frames(row))


@pytest.mark.parametrize("budget", [{}, {"device_bytes": 0, "host_bytes": 0}])
def test_damaged_frames_are_found_wherever_they_are_kept(tmp_path: Path, budget: dict[str, Any]) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, LENGTHS)
    with open_store(path) as store:
        where = store.frames_at + int(store.offsets[1]) * 6 * 2  # the first frame of b
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"features\.h5: the frames of 'b' are damaged; run make features again"):
        load_frame_bank(path, Features(), ["a", "b"], "cpu", **budget)
    assert load_frame_bank(path, Features(), ["a", "d"], "cpu", **budget).clips == ["a", "d"]


def test_a_store_that_is_replaced_meanwhile_is_mapped_as_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "features.h5", tmp_path / "other.h5"
    stored = write_small_store(path, LENGTHS)
    write_small_store(other, {("d", 0): 400, ("a", 0): 3})
    monkeypatch.setattr("train.data.frame_bank._choose_storage_device", lambda *_: other.replace(path) and None)
    frame_bank = load_frame_bank(path, Features(), ["d", "a"], "cpu")
    assert not other.exists()
    for row, clip in enumerate(["d", "a"]):
        np.testing.assert_array_equal(frame_bank.clip_frames(row).numpy(), stored[clip, 0].astype(np.float32))


def test_the_nearest_place_with_room_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, {("a", 0): 100})
    n_bytes = 100 * 6 * 2
    fits = load_frame_bank(path, Features(), ["a"], "meta", device_bytes=n_bytes, host_bytes=0)
    assert fits.frames.device.type == "meta"
    assert not fits.offloaded
    assert capsys.readouterr().err == ""
    host = load_frame_bank(path, Features(), ["a"], "meta", device_bytes=n_bytes - 1, host_bytes=n_bytes)
    assert host.frames.device.type == "cpu"
    assert host.offloaded
    assert "on meta: kept in host memory" in capsys.readouterr().err
    file = load_frame_bank(path, Features(), ["a"], "meta", device_bytes=n_bytes - 1, host_bytes=n_bytes - 1)
    assert file.offloaded
    assert "read from the file" in capsys.readouterr().err
    assert (fits.from_file, host.from_file, file.from_file) == (False, False, True)
    asked_for = load_frame_bank(path, Features(), ["a"], "meta", device_bytes=0, host_bytes=0)
    assert asked_for.from_file
    assert capsys.readouterr().err == "", "no frames pass a limit that is none"


@pytest.mark.parametrize(("host_bytes", "from_file"), [(10_000, False), (500, True)])
def test_parallel_processes_map_what_fits_and_read_the_rest_in_extents(
    tmp_path: Path, host_bytes: int, from_file: bool
) -> None:
    stored = write_small_store(tmp_path / "features.h5", {("a", 0): 100, ("b", 0): 50})
    shared = load_frame_bank(tmp_path / "features.h5", Features(), ["b"], "cpu", host_bytes=host_bytes, shared=True)
    assert (shared.offloaded, shared.from_file) == (from_file, from_file)
    assert len(shared.frames) == 150, "it is mapped"
    np.testing.assert_array_equal(shared.clip_frames(0).numpy(), stored["b", 0].astype(np.float32))


MAP_MORE_THAN_MEMORY = """
import resource, sys
from pathlib import Path
import psutil
import torch
from recipe import Features
from train.data.frame_bank import load_frame_bank

n_bytes = psutil.Process().memory_info().data + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, resource.RLIM_INFINITY))
frame_bank = load_frame_bank(Path(sys.argv[1]), Features(), [str(i) for i in range(200)], "cpu")
print(frame_bank.from_file, frame_bank.frames.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux alone")
def test_a_store_that_no_memory_can_hold_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, {(str(i), 0): 1_000 for i in range(200)}, n_bins=128)
    command = [sys.executable, "-c", MAP_MORE_THAN_MEMORY, str(path)]
    printed = [
        subprocess.run([*command, str(n_mb << 20)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for n_mb in (40, 400)
    ]
    assert printed == [f"{from_file} {200 * 1_000 * 128 * 2}\n" for from_file in (True, False)]


@pytest.mark.cuda
def test_a_gpu_gets_the_same_crops_from_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, LENGTHS)
    budgets: list[dict[str, Any]] = [{}, {"device_bytes": 0}, {"device_bytes": 0, "host_bytes": 0}]
    frame_banks = [load_frame_bank(path, Features(), ["d", "a", "c"], "cuda", **budget) for budget in budgets]
    assert [frame_bank.frames.device.type for frame_bank in frame_banks] == ["cuda", "cpu", "cpu"]
    first, *others = (some_crops(frame_bank, "random_tile").cpu() for frame_bank in frame_banks)
    for other in others:
        assert torch.equal(first, other)
