"""Crops lie in their clips, short clips are filled as the rule says, and training fills as prediction does."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recipe import Training
from tests.train.store_factories import make_frame_bank
from train.data.crops import ShortClipPadding, draw_crop_starts, draw_crops, gather_crops, pad_short_clip
from train.data.random_streams import seeded_generator

RULES = get_args(ShortClipPadding)


def naive_crop(clip: NDArray[Any], start: int, n_frames: int, rule: str, silence: float) -> NDArray[Any]:
    """One crop, frame by frame."""
    frames = []
    for at in range(start, start + n_frames):
        if 0 <= at < len(clip):
            frames.append(clip[at])
        elif rule == "pad":
            frames.append(np.full(clip.shape[1], silence))
        else:
            frames.append(clip[at % len(clip)])
    return np.stack(frames)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    n_frames=st.integers(1, 40),
    rule=st.sampled_from(RULES),
    kind=st.sampled_from(["logmel", "waveform"]),
    data=st.data(),
)
def test_crops_never_leave_their_clip(
    lengths: list[int], n_frames: int, rule: Any, kind: str, data: st.DataObject
) -> None:
    # Every clip's values are its own, so a frame from beside it would show.
    random = np.random.default_rng(0)
    clips = {
        str(i): (100 * i + random.uniform(1, 99, (length, 2))).astype(np.float32) for i, length in enumerate(lengths)
    }
    frame_bank = make_frame_bank(clips, kind=kind)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8)))
    uniform = torch.tensor(data.draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows))))
    starts = draw_crop_starts(uniform, frame_bank.lengths[rows], n_frames, rule)
    positions = torch.stack([frame_bank.offsets[rows], frame_bank.lengths[rows], starts])
    gathered = gather_crops(frame_bank, positions, n_frames, rule)
    for row, start, crop in zip(rows.tolist(), starts.tolist(), gathered.numpy(), strict=True):
        clip = clips[str(row)]
        if len(clip) >= n_frames:
            assert 0 <= start <= len(clip) - n_frames
        np.testing.assert_array_equal(
            crop, naive_crop(clip, start, n_frames, rule, 0 if kind == "waveform" else clip.min())
        )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("length", "n_frames"), [(9, 4), (4, 9), (5, 5)])
def test_starts_are_uniform_over_all_that_are_possible(rule: Any, length: int, n_frames: int) -> None:
    uniform = (torch.arange(9000) + 0.5) / 9000
    starts = draw_crop_starts(uniform, torch.full((9000,), length), n_frames, rule)
    short = {"random_tile": range(length), "pad": range(length - n_frames, 1), "tile": range(1)}[rule]
    possible = range(length - n_frames + 1) if length >= n_frames else short
    found, counts = starts.unique(return_counts=True)
    assert found.tolist() == list(possible)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("kind", ["logmel", "waveform"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("length", [1, 3, 7, 10])
def test_prediction_fills_as_a_crop_that_starts_with_the_clip(rule: Any, length: int, kind: str) -> None:
    clip = np.random.default_rng(length).uniform(-80, 0, (length, 3)).astype(np.float32)
    frame_bank = make_frame_bank({"before": clip - 100, "clip": clip, "after": clip + 100}, kind=kind)
    positions = torch.tensor([[length], [length], [0]])
    assert torch.equal(
        pad_short_clip(torch.from_numpy(clip), 10, rule, kind), gather_crops(frame_bank, positions, 10, rule)[0]
    )


def test_offline_copies_are_drawn_as_often_as_asked() -> None:
    clips = {str(i): np.full((4, 1), i, np.float32) for i in range(5)}
    frame_bank = make_frame_bank(clips, n_offline_variants=2)
    assert frame_bank.clips == ["0", "1", "2"]
    rows = torch.arange(3).repeat(4000)
    positions = draw_crops(frame_bank, rows, 4, Training(variant_probability=0.3), seeded_generator("cpu", "test", 0))
    drawn = gather_crops(frame_bank, positions, 4, "random_tile")[:, 0, 0]
    assert (drawn[rows < 2] == rows[rows < 2]).all(), "clips without copies are taken as recorded"
    shares = drawn[rows == 2].unique(return_counts=True)[1] / 4000
    assert shares.tolist() == pytest.approx([0.7, 0.15, 0.15], abs=0.02)
