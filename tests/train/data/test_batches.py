"""An epoch's batches: every clip, at the asked rates, repeatable, and without a word from the device to the host."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from core.errors import UserError
from recipe import Features, Training
from tests.train.store_factories import make_frame_bank, write_small_store
from train.data.batches import Batch, Batches
from train.data.frame_bank import FrameBank, load_frame_bank
from train.data.random_streams import seeded_generator

PLAIN = Training(batch_size=4, crop_seconds=0.6, noisy_rate=1.0)
BUSY = replace(
    PLAIN,
    mixup_probability=0.3,
    power_mix_probability=0.3,
    crossfade_probability=0.3,
    pitch_roll_probability=0.5,
    resized_crop_probability=0.5,
    time_roll_probability=0.5,
    silence_probability=0.5,
    gain_probability=0.5,
    noise_probability=0.5,
    time_mask_probability=0.5,
    frequency_mask_probability=0.5,
)


def numbered(n_clips: int, n_frames: int = 9, n_bins: int = 4) -> FrameBank:
    """Clip i is full of i."""
    return make_frame_bank({str(i): np.full((n_frames, n_bins), i, np.float32) for i in range(n_clips)})


def batches_of(
    frame_bank: FrameBank, rows: Sequence[int], targets: Tensor, training: Training, *keys: int, **options: Any
) -> Batches:
    """Batches of crops of 0.6 s and all bins, no clip noisy, but for the options."""
    plain: dict[str, Any] = {
        "noisy": torch.zeros(len(rows), dtype=torch.bool),
        "n_frames": 6,
        "n_bins": frame_bank.n_bins,
        "noise_power": torch.linspace(0.5, 1.5, 40, device=frame_bank.device)[:, None].expand(
            -1, options.get("n_bins", frame_bank.n_bins)
        ),
    }
    return Batches(
        frame_bank,
        rows,
        targets,
        training,
        lambda purpose: seeded_generator(frame_bank.device, purpose, *keys),
        **plain | options,
    )


def epoch(frame_bank: FrameBank, training: Training, *keys: int, **options: Any) -> list[Batch]:
    rows = range(len(frame_bank.clips))
    return list(batches_of(frame_bank, rows, torch.eye(len(rows)), training, *keys, **options))


def rows_of(*batches: Batch) -> Tensor:
    """Which clips of numbered() are in some batches."""
    return torch.cat([batch.x[:, 0, 0].long() for batch in batches])


def test_every_clip_comes_once_and_brings_its_label() -> None:
    batches = epoch(numbered(12), PLAIN, 1)
    assert len(batches) == 3
    rows = rows_of(*batches)
    assert sorted(rows.tolist()) == list(range(12))
    assert rows.tolist() != list(range(12))
    for batch in batches:
        assert batch.x.shape == (4, 6, 4)
        assert batch.x.dtype == batch.y.dtype == torch.float32
        assert (batch.x == batch.x[:, :1, :1]).all()
        assert torch.equal(batch.y.argmax(1), rows_of(batch))
        assert not batch.noisy.any()


def test_some_rows_only_and_a_full_last_batch() -> None:
    rows = [3, 5, 8, 9, 11]
    targets = torch.rand(5, 2)
    batches = batches_of(numbered(12), rows, targets, PLAIN, 1)
    assert len(batches) == 2
    drawn = [batch for _ in range(50) for batch in batches]
    counts = rows_of(*drawn).unique(return_counts=True)
    assert counts[0].tolist() == rows
    assert int(counts[1].sum()) == 400
    assert counts[1].min() >= 50, "each comes in every epoch; what fills the last batch is any of them"
    for batch in drawn:
        for row, y in zip(rows_of(batch).tolist(), batch.y, strict=True):
            assert torch.equal(y, targets[rows.index(row)])


def test_a_batch_larger_than_the_data_is_filled() -> None:
    (batch,) = epoch(numbered(3), replace(PLAIN, batch_size=8), 1)
    assert rows_of(batch).unique(return_counts=True)[1].tolist() in ([2, 3, 3], [3, 2, 3], [3, 3, 2])


@pytest.mark.parametrize(("noisy_rate", "expected"), [(0.0, 0), (0.5, 4), (1.0, 8), (2.0, 16)])
def test_noisy_clips_come_at_their_rate(noisy_rate: float, expected: int) -> None:
    noisy = torch.arange(12) >= 8
    training = replace(PLAIN, noisy_rate=noisy_rate)
    batches = epoch(numbered(12), training, 1, noisy=noisy)
    rows = rows_of(*batches)
    assert torch.equal(torch.cat([batch.noisy for batch in batches]), noisy[rows])
    counts = torch.bincount(rows, minlength=12)
    assert counts[:8].tolist() == [1] * 8
    assert int(counts[8:].sum()) == expected
    assert int(counts[8:].max() - counts[8:].min()) == (0 if expected else counts[8:].max())


def test_noisy_clips_alone_are_all_drawn() -> None:
    batches = epoch(numbered(4), replace(PLAIN, noisy_rate=0.0), 1, noisy=torch.ones(4, dtype=torch.bool))
    assert sorted(rows_of(*batches).tolist()) == [0, 1, 2, 3]
    assert batches[0].noisy.all()


def test_no_clips_are_refused() -> None:
    with pytest.raises(UserError, match="no clips to train on"):
        batches_of(numbered(3), [], torch.empty(0, 2), PLAIN, 1)


@pytest.mark.parametrize("mixer", ["mixup_probability", "power_mix_probability", "crossfade_probability"])
@pytest.mark.parametrize("label_mixing", ["union", "proportional"])
def test_a_mixture_with_a_noisy_clip_is_noisy(mixer: str, label_mixing: Any) -> None:
    noisy = torch.arange(12) >= 6
    keys: dict[str, Any] = {mixer: 1.0, "label_mixing": label_mixing, "power_mix_clips": 2}
    training = replace(PLAIN, batch_size=12, **keys)
    (batch,) = epoch(numbered(12), training, 1, noisy=noisy)
    inside = batch.y > 0
    assert (inside.sum(1) == 2).all()
    assert torch.equal(batch.noisy, (inside & noisy).any(1))
    assert batch.noisy.any()


def test_an_epoch_depends_on_its_keys_alone() -> None:
    frame_bank = numbered(12, n_frames=20)
    noisy = torch.arange(12) % 3 == 0

    def digest(*keys: int) -> list[Tensor]:
        return [tensor for batch in epoch(frame_bank, BUSY, *keys, noisy=noisy) for tensor in (batch.x, batch.y)]

    first = digest(0, 1, 2)
    digest(0, 1, 1)
    assert all(map(torch.equal, digest(0, 1, 2), first))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not any(map(torch.equal, digest(*other), first))


def test_an_augmentation_more_changes_neither_order_nor_crops_nor_the_others() -> None:
    """What it brings can be told from chance."""
    frame_bank = make_frame_bank({str(i): np.arange(80, dtype=np.float32).reshape(20, 4) + 100 * i for i in range(12)})
    plainly = replace(PLAIN, frequency_mask_share=1.0)
    rolled, masked = replace(plainly, time_roll_probability=0.5), replace(plainly, frequency_mask_probability=0.5)
    plain, one, other = (
        torch.cat([batch.x for batch in epoch(frame_bank, each, 7)]) for each in (PLAIN, rolled, masked)
    )
    both = torch.cat([batch.x for batch in epoch(frame_bank, replace(rolled, frequency_mask_probability=0.5), 7)])
    assert 0 < (one != plain).any((1, 2)).sum() < 12
    assert torch.equal(one.sort(1).values, plain), "the same crops of the same clips, some of them rolled"
    assert torch.equal((both != one).any((1, 2)), (other != plain).any((1, 2))), "the same clips are masked"


def test_sizes_can_be_smaller() -> None:
    frame_bank = make_frame_bank(
        {str(i): np.random.default_rng(i).normal(size=(9, 4)).astype(np.float32) for i in range(4)}
    )
    (small,) = epoch(frame_bank, PLAIN, 1, n_frames=5, n_bins=2)
    (full,) = epoch(frame_bank, PLAIN, 1, n_frames=5)
    assert small.x.shape == (4, 5, 2)
    torch.testing.assert_close(small.x, full.x.view(4, 5, 2, 2).mean(-1))


@pytest.mark.parametrize("kind", ["logmel", "cqt_chroma"])
def test_a_smaller_size_does_not_move_pitches_farther(kind: str) -> None:
    """Bins are counted as they are stored."""
    clips = {str(i): np.random.default_rng(i).normal(size=(9, 24)).astype(np.float32) for i in range(64)}
    frame_bank = make_frame_bank(clips, kind=kind)
    training = replace(PLAIN, batch_size=64, pitch_roll_probability=1.0, pitch_roll_bins=3)
    (small,) = epoch(frame_bank, training, 1, n_bins=12)
    (full,) = epoch(frame_bank, training, 1)
    torch.testing.assert_close(small.x, full.x.view(64, 6, 12, 2).mean(-1))


def test_frames_from_the_file_make_the_same_batches(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    names = {(f"{i}", variant): 4 + 3 * i for i in range(9) for variant in range(1 + i % 3)}
    write_small_store(path, names)
    clips = [str(i) for i in range(9)]
    in_memory = load_frame_bank(path, Features(), clips, "cpu")
    mapped = load_frame_bank(path, Features(), clips, "cpu", host_bytes=0)
    for one, other in zip(epoch(in_memory, BUSY, 5), epoch(mapped, BUSY, 5), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_frames_read_in_extents_make_the_batches_of_memory_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 steps in 5 buffers, of 100 clips with their offline copies in some 20 extents."""
    monkeypatch.setattr("train.data.frame_bank.EXTENT_BYTES", 2_000)
    path, clips = tmp_path / "features.h5", [str(i) for i in range(100)]
    write_small_store(path, {(clip, variant): 4 + int(clip) % 30 for clip in clips for variant in range(2)})
    in_memory = load_frame_bank(path, Features(), clips, "cpu")
    mapped = load_frame_bank(path, Features(), clips, "cpu", host_bytes=0)
    assert mapped.from_file and not in_memory.from_file
    training = replace(BUSY, batch_size=8, shuffle_buffer_mb=4 * 8 * 6 * 6 * 2 / 2**20)
    noisy = torch.arange(100) % 5 == 0
    shuffled = [epoch(bank, training, 5, noisy=noisy) for bank in (mapped, replace(in_memory, from_file=True))]
    assert len(shuffled[0]) == 20
    for one, other in zip(*shuffled, strict=True):
        for name in ("x", "y", "noisy"):
            assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(shuffled[0][0].y, epoch(in_memory, training, 5, noisy=noisy)[0].y)


def test_clips_from_extents_come_once_an_epoch_and_batches_mix_labels_nearly_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4,000 clips of 40 labels, sorted by label: 400 extents of one label each, in 4 buffers."""
    frame_bank = replace(numbered(4_000, n_frames=6), from_file=True)
    monkeypatch.setattr("train.data.frame_bank.EXTENT_BYTES", 10 * 6 * 4 * 4)
    labels = torch.arange(4_000) // 100

    def orders(buffer_clips: float) -> list[Tensor]:
        training = replace(PLAIN, batch_size=32, shuffle_buffer_mb=buffer_clips * 6 * 4 * 4 / 2**20)
        batches = batches_of(frame_bank, range(4_000), torch.zeros(4_000, 1), training, 1)
        return [rows_of(*batches) for _ in range(2)]

    def n_labels(order: Tensor) -> float:
        return float(np.mean([len(labels[batch].unique()) for batch in order.split(32)]))

    (first, second), (everywhere, _), (one_extent, _) = orders(1_024), orders(10**6), orders(32)
    for order in (first, second):
        assert torch.bincount(order, minlength=4_000).tolist() == [1] * 4_000
    assert not torch.equal(first, second)
    assert n_labels(one_extent) < 6
    assert 0.9 * n_labels(everywhere) < n_labels(first) < n_labels(everywhere)


def test_an_epoch_that_is_left_early_stops_reading() -> None:
    """40 buffers of 25 steps; the second ends, and the third is being read."""
    frame_bank = replace(numbered(4_000), from_file=True, offloaded=True)
    training = replace(PLAIN, shuffle_buffer_mb=0.01)
    batches = iter(batches_of(frame_bank, range(4_000), torch.zeros(4_000, 1), training, 1))
    next(batches)
    n_read = 0

    def slow(*_: Any) -> Tensor:
        nonlocal n_read
        n_read += 1
        time.sleep(0.05)
        return torch.zeros(4, 6, 4)

    with patch("train.data.batches.gather_crops", slow):
        for _ in range(49):
            next(batches)
        started = time.monotonic()
        batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
    assert 0 < n_read < 40, "at most all of the second, and some of the third"


class Waits(TorchDispatchMode):
    """Collects operations that on a GPU would make the host wait for a value."""

    WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "unique", "item", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.WAITING or (name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])):
            self.found.append(name)
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("short_clip_padding", ["random_tile", "pad", "tile"])
def test_no_step_waits_for_the_device(short_clip_padding: Any) -> None:
    training = replace(BUSY, short_clip_padding=short_clip_padding)
    batches = iter(batches_of(numbered(12, n_frames=4), range(12), torch.eye(12), training, 1))
    next(batches)
    with Waits() as waits:
        for _ in batches:
            pass
    assert waits.found == []
    with Waits() as waits:
        assert torch.ones(2)[torch.tensor([True, False])].item() == 1
    assert waits.found, "the watch sees what it should"


@pytest.mark.cuda
@pytest.mark.parametrize("budget", [{}, {"device_bytes": 0}, {"device_bytes": 0, "host_bytes": 0}])
def test_on_a_gpu_no_step_waits_and_all_memory_budgets_agree(tmp_path: Path, budget: dict[str, Any]) -> None:
    path = tmp_path / "features.h5"
    write_small_store(path, {(str(i), 0): 4 + 3 * i for i in range(24)})
    clips = [str(i) for i in range(24)]

    def drawn(frame_bank: FrameBank) -> list[Batch]:
        batches = iter(batches_of(frame_bank, range(24), torch.eye(24), BUSY, 1))
        first = next(batches)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return [first, *batches]
        finally:
            torch.cuda.set_sync_debug_mode("default")

    on_device = drawn(load_frame_bank(path, Features(), clips, "cuda"))
    for one, other in zip(on_device, drawn(load_frame_bank(path, Features(), clips, "cuda", **budget)), strict=True):
        assert one.x.device.type == "cuda"
        torch.testing.assert_close(one.x, other.x, rtol=0, atol=0)


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_clips_of_rare_labels_are_drawn_more_often(balance: float) -> None:
    """16 clips of one label, 3 of another and of both, 1 of none; counted over many epochs."""
    targets = torch.tensor([[1.0, 0]] * 16 + [[0, 1.0]] * 2 + [[1.0, 1.0]] + [[0, 0]])
    frame_bank, training = numbered(20), replace(PLAIN, batch_size=5, balance=balance)
    batches = batches_of(frame_bank, range(20), targets, training, 1)
    assert len(batches) == 4
    n_epochs = 200
    counts = torch.stack([torch.bincount(rows_of(*batches), minlength=20) for _ in range(n_epochs)])
    assert (counts.sum(1) == 20).all()
    weights = torch.tensor([1 / 17] * 16 + [1 / 3] * 3 + [1.0]) ** balance
    expected = 20 * weights / weights.sum()
    assert torch.allclose(counts.float().mean(0), expected, atol=0.12)
    assert (counts >= expected.floor() - 1e-3).all() and (counts <= expected.ceil() + 1e-3).all()
    again = batches_of(frame_bank, range(20), targets, training, 1)
    assert torch.equal(torch.bincount(rows_of(*again), minlength=20), counts[0])


@pytest.mark.parametrize("batch_size", [10, 60, 128])
def test_balance_is_among_curated_and_among_noisy_clips(batch_size: int) -> None:
    """Noisy clips come at their rate, and of both, and of what fills the last batch, labels are drawn alike."""
    targets = torch.eye(2)[[0] * 32 + [1] * 8 + [0] * 360 + [1] * 40]
    noisy = torch.arange(440) >= 40
    training = replace(PLAIN, batch_size=batch_size, balance=1.0, noisy_rate=2.0)
    batches = batches_of(numbered(440), range(440), targets, training, 1, noisy=noisy)
    rows = torch.cat([rows_of(*batches)[:120] for _ in range(50)])
    assert int(noisy[rows].sum()) == 50 * 80
    for some in (rows[noisy[rows]], rows[~noisy[rows]], rows_of(*batches)):
        assert float(targets[some, 1].mean()) == pytest.approx(0.5, abs=0.1 if batch_size == 128 else 0.01)


def test_a_balance_of_curated_clips_alone() -> None:
    training = replace(PLAIN, batch_size=6, balance=1.0, noisy_rate=0.0)
    assert len(rows_of(*batches_of(numbered(6), range(6), torch.eye(6), training, 1))) == 6
