"""Labels in time: which events a span holds, against a loop over them, and crops that hold one or none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from recipe import Features, Training
from tests.train.store_factories import make_frame_bank
from train.data.batches import Batches
from train.data.events import ClipEvents, EventCrops, make_clip_events
from train.data.frame_bank import FrameBank
from train.data.random_streams import seeded_generator
from train.evaluate.event_metrics import label_windows

LABELS = ["a", "b", "c"]
TRAINING = Training(batch_size=4, min_overlap_s=0.3, event_free_rate=1.0)


def bank_of(*lengths: int) -> FrameBank:
    """Clip i, called str(i), has frames that are numbered from 1000 i on; ten are a second."""
    return make_frame_bank(
        {str(i): 1000 * i + np.arange(length, dtype=np.float32)[:, None] for i, length in enumerate(lengths)}
    )


def events_of(bank: FrameBank, *rows: tuple[str, float, float, str], training: Training = TRAINING) -> ClipEvents:
    table = pd.DataFrame(rows, columns=["clip", "start_s", "end_s", "label"])
    return make_clip_events(table, bank, LABELS, Features(), training)


def crops_of(
    events: ClipEvents, bank: FrameBank, rows: list[int], n_frames: int, training: Training = TRAINING
) -> EventCrops:
    generator = seeded_generator("cpu", "event-free", 0)
    return EventCrops(events, bank, np.array(rows), n_frames, n_frames, training, generator)


def held_by_loop(events: ClipEvents, row: int, start: float, n_frames: int, length: int) -> list[float]:
    start = 0 if length <= n_frames else start
    held = [0.0] * events.n_labels
    for event_row, begin, end, label in zip(events.rows, events.starts, events.ends, events.labels, strict=True):
        overlap = min(end, start + n_frames) - max(begin, start)
        if event_row == row and overlap > 0 and overlap >= min(events.min_overlap, end - begin, n_frames - 1) - 1e-6:
            held[label] = 1.0
    return held


EVENT = st.tuples(st.sampled_from("012"), st.floats(0, 6), st.floats(0, 6), st.sampled_from(LABELS))


@given(rows=st.lists(EVENT, max_size=8), n_frames=st.integers(2, 30), overlap_s=st.sampled_from([0.0, 0.25, 0.3, 9.0]))
def test_a_span_has_the_labels_that_a_loop_over_all_events_finds(
    rows: list[tuple[str, float, float, str]], n_frames: int, overlap_s: float
) -> None:
    bank = bank_of(60, 12, 60)
    table = [(clip, min(times), max(times), label) for clip, *times, label in rows]
    events = events_of(bank, *table, training=replace(TRAINING, min_overlap_s=overlap_s))
    spans = [(row, start) for row in range(3) for start in range(0, 60, 3)]
    row_of, starts = (np.array(column) for column in zip(*spans, strict=True))
    lengths = bank.lengths.numpy()[row_of]
    found = events.label_spans(row_of, starts, n_frames, lengths)
    expected = [
        held_by_loop(events, row, start, n_frames, length)
        for (row, start), length in zip(spans, lengths.tolist(), strict=True)
    ]
    assert found.tolist() == expected


TENTHS = st.integers(0, 60).map(lambda tenths: tenths / 10)
EVENT_OF_TENTHS = st.tuples(st.just("0"), TENTHS, TENTHS, st.sampled_from(LABELS)).filter(lambda row: row[1] < row[2])


@given(rows=st.lists(EVENT_OF_TENTHS, max_size=6), n_frames=st.integers(5, 20), overlap_s=st.sampled_from([0.05, 0.25]))
def test_windows_in_seconds_have_the_labels_of_the_same_spans_in_frames(
    rows: list[tuple[str, float, float, str]], n_frames: int, overlap_s: float
) -> None:
    bank, starts = bank_of(60), np.arange(0, 60 - n_frames, 3)
    events = events_of(bank, *rows, training=replace(TRAINING, min_overlap_s=overlap_s))
    in_frames = events.label_spans(np.zeros(len(starts), np.int64), starts, n_frames, np.full(len(starts), 60))
    table = pd.DataFrame(rows, columns=["fname", "start_s", "end_s", "label"])
    in_seconds = label_windows(table, starts / 10, (starts + n_frames) / 10, LABELS, overlap_s)
    np.testing.assert_array_equal(in_seconds, in_frames.numpy())


def test_spans_are_labelled_alike_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, random = bank_of(500, 500), np.random.default_rng(0)
    times = np.sort(random.uniform(0, 49, (200, 2)), axis=1)
    events = events_of(bank, *((str(i % 2), low, high, LABELS[i % 3]) for i, (low, high) in enumerate(times)))
    spans = random.integers(0, 2, 300), random.integers(0, 480, 300), 12, np.full(300, 500)
    whole = events.label_spans(*spans)
    monkeypatch.setattr("train.data.events.MAX_PAIRS", 50)
    assert torch.equal(events.label_spans(*spans), whole)
    assert 0 < whole.mean() < 1


def test_what_counts_is_seconds_of_an_event_or_all_of_a_shorter_one() -> None:
    bank = bank_of(100)
    events = events_of(bank, ("0", 2.0, 2.2, "a"), ("0", 5.0, 9.0, "b"), ("0", 1.0, 1.0, "c"))
    for start, expected in {
        12: "", 14: "a", 20: "a", 21: "", 43: "", 44: "b", 70: "b", 87: "b", 88: "", 2: "c", 10: "c", 11: ""
    }.items():  # fmt: skip
        found = events.label_spans(np.array([0]), np.array([start]), 9, np.array([100]))[0]
        assert "".join(label for label, here in zip(LABELS, found, strict=True) if here) == expected, start


def test_every_event_has_its_crop_and_the_others_hold_none() -> None:
    bank = bank_of(100, 100, 100, 100)
    events = events_of(bank, ("0", 2, 2.1, "a"), ("0", 5, 9, "b"), ("1", 9.9, 10, "c"), ("3", 1, 2, "a"))
    crops = crops_of(events, bank, [0, 1, 2], 12, replace(TRAINING, event_free_rate=50))
    assert len(crops.rows) == 3 + 150
    order = torch.arange(len(crops.rows)).repeat(20, 1)
    (offsets, lengths, starts), targets = crops.draw(order, seeded_generator("cpu", "crops", 0))
    assert (lengths == 100).all()
    assert ((starts >= 0) & (starts <= 88)).all()
    assert targets[:, :3].argmax(2).unique(dim=0).tolist() == [[0, 1, 2]]
    assert targets[:, :3].sum() == 60
    assert not targets[:, 3:].any()
    assert set((offsets[:, 3:] // 100).flatten().tolist()) == {0, 1, 2}
    for offset, start in zip(offsets[:, 3:].flatten().tolist(), starts[:, 3:].flatten().tolist(), strict=True):
        row = offset // 100
        parts = zip(events.rows, events.starts, events.ends, strict=True)
        assert all(where != row or end <= start or start + 12 <= begin for where, begin, end in parts)
    long_event = starts[:, 1]
    assert long_event.min() < 50
    assert long_event.max() > 78
    assert len(long_event.unique()) > 10


def test_event_free_starts_are_all_those_without_any_part_of_an_event() -> None:
    bank = bank_of(40, 5, 5, 40)
    events = events_of(bank, ("0", 0.55, 1.0, "a"), ("0", 0.6, 2.05, "b"), ("1", 0, 0.1, "a"), ("3", 0, 4, "a"))
    places = events.find_free_starts([0, 1, 2, 3], bank.lengths.numpy(), 6)
    starts = {(row, start) for row, low, high in places.tolist() for start in range(low, high + 1)}
    assert starts == {(0, start) for start in range(21, 35)} | {(2, 0)}


def test_where_no_crop_fits_between_events_none_is_drawn() -> None:
    bank = bank_of(20)
    events = events_of(bank, ("0", 0.0, 2.0, "a"))
    assert len(crops_of(events, bank, [0], 6).rows) == 1
    with pytest.raises(UserError, match="no event to train on"):
        crops_of(events, bank, [], 6)


def test_trimming_shifts_events_and_leaves_out_those_in_what_was_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    bank = replace(bank_of(40, 40), start_s=torch.tensor([1.5, -0.5], dtype=torch.float64))
    rows = [("0", 0.2, 1.0, "a"), ("0", 1.0, 2.5, "b"), ("1", 0.0, 1.0, "c"), ("0", 9.0, 9.5, "a")]
    events = events_of(bank, *rows)
    assert events.rows.tolist() == [0, 1]
    assert events.starts.tolist() == [0.0, 5.0]
    assert events.ends.tolist() == [10.0, 15.0]
    assert events.labels.tolist() == [1, 2]
    assert "2 of 4 events lie in silence that features.trim_top_db cut off" in caplog.text


def test_a_stretched_copy_has_its_events_where_they_sound() -> None:
    """Of a clip of 100 frames, the copy that is twice as fast has 50, and the event at 6 s is at frame 30."""
    frames = np.arange(100, dtype=np.float32)[:, None]
    bank = make_frame_bank({"0": frames, "copy": frames[::2]}, n_offline_variants=1)
    table = pd.DataFrame([("0", 6.0, 7.0, "b")], columns=["clip", "start_s", "end_s", "label"])
    training = replace(TRAINING, variant_probability=1.0, event_free_rate=20)
    events = make_clip_events(table, bank, LABELS, Features(time_stretches=[2.0]), training)
    crops = crops_of(events, bank, [0], 8, training)
    order = torch.arange(21).repeat(30, 1)
    (offsets, lengths, starts), targets = crops.draw(order, seeded_generator("cpu", "crops", 0))
    assert (offsets == 100).all()
    assert (lengths == 50).all()
    overlaps = torch.minimum(starts + 8, torch.tensor(35)) - torch.maximum(starts, torch.tensor(30))
    assert torch.equal(targets[..., 1] == 1, overlaps >= 3)
    assert targets[:, 0, 1].all()


def test_crops_without_events_hold_none_in_stretched_copies_either() -> None:
    """Most events are 35 frames apart; where it is 20, no crop at twice the speed fits."""
    speeds = np.array([1.0, 0.8, 1.25, 2.0])
    bank = make_frame_bank(
        {str(speed): np.zeros((round(400 / speed), 1), np.float32) for speed in speeds}, n_offline_variants=3
    )
    rows = [("0", start, start + 0.5, "a") for start in [*np.arange(3.5, 40, 4), 6.0]]
    training = replace(TRAINING, variant_probability=0.75, event_free_rate=30)
    table = pd.DataFrame(rows, columns=["clip", "start_s", "end_s", "label"]).assign(clip="1.0")
    events = make_clip_events(table, bank, LABELS, Features(time_stretches=list(speeds[1:])), training)
    crops = crops_of(events, bank, [0], 12, training)
    (_, lengths, starts), targets = crops.draw(
        torch.arange(crops.n_events, len(crops.rows)).repeat(20), seeded_generator("cpu", "crops", 0)
    )
    assert not targets.any()
    spans = zip((400 / lengths.double()).numpy(), starts.numpy(), strict=True)
    begins, ends = np.array([(start * speed, (start + 12) * speed) for speed, start in spans]).T
    overlaps = np.minimum(ends[:, None], events.ends) - np.maximum(begins[:, None], events.starts)
    assert overlaps.max() <= 1e-9
    assert len(lengths.unique()) == 4
    assert not ((begins >= 40) & (ends <= 60)).any()
    as_recorded = starts[lengths == 400]
    assert set(range(80, 104)) <= set(as_recorded.tolist()), "anywhere between two events"


def test_an_epoch_of_batches_has_each_event_once_and_labels_of_its_crops() -> None:
    bank = bank_of(60, 60)
    events = events_of(bank, *((str(i % 2), 1.3 * (i // 2), 1.3 * (i // 2) + 0.4, LABELS[i % 3]) for i in range(8)))
    crops = crops_of(events, bank, [0, 1], 5)
    assert len(crops.rows) == 16

    def generator_for(purpose: str) -> torch.Generator:
        return seeded_generator("cpu", purpose, 1)

    options: dict[str, Any] = {
        "noisy": torch.zeros(16, dtype=torch.bool),
        "n_frames": 5,
        "n_bins": 1,
        "event_crops": crops,
    }
    batches = list(Batches(bank, crops.rows.tolist(), crops.targets, TRAINING, generator_for, **options))
    assert len(batches) == 4
    starts = torch.cat([batch.x[:, 0, 0] for batch in batches]).long().numpy()
    rows = torch.cat([batch.rows for batch in batches]).numpy()
    assert (starts // 1000 == rows).all()
    y = torch.cat([batch.y for batch in batches])
    assert torch.equal(y, events.label_spans(rows, starts % 1000, 5, np.full(16, 60)))
    assert int(y.any(1).sum()) == 8
    assert not torch.cat([batch.noisy for batch in batches]).any()


def test_a_changed_event_changes_the_digest_of_its_clip_alone() -> None:
    bank = bank_of(60, 60)
    one = events_of(bank, ("0", 1, 2, "a"), ("1", 1, 2, "a"))
    moved, renamed = (
        events_of(bank, ("0", 1, 2, "a"), ("1", 1, 3, "a")),
        events_of(bank, ("0", 1, 2, "a"), ("1", 1, 2, "b")),
    )
    for other in (moved, renamed):
        assert one.content_of(np.array([0, 1])) != other.content_of(np.array([0, 1]))
        assert one.content_of(np.array([0])) == other.content_of(np.array([0]))


def test_a_label_that_is_not_in_the_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label 'z'"):
        events_of(bank_of(10), ("0", 0.1, 0.2, "z"))
