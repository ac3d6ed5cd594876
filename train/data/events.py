"""Labels in time: which events the windows and crops of recordings hold, and where crops with and without them lie."""

from core.entrypoint import get_logger

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from core.errors import UserError
from recipe import Features, Training
from train.data.crops import draw_crop_starts, draw_variants
from train.data.frame_bank import FrameBank

MAX_PAIRS = 1 << 22
"""Pairs of a span and an event that are compared at once."""


@dataclass(frozen=True)
class ClipEvents:
    """Events of the recordings of a frame bank, by row, then by start; in frames of the recording as it is stored.

    An event is at least one frame long and lies within its recording. A span of frames holds an event, and has its
    label, where it has at least `min_overlap` frames of it, or all of a shorter event, or all but a frame of the span.
    """

    rows: np.ndarray
    """int64 [n_events]: rows of the frame bank."""
    starts: np.ndarray
    ends: np.ndarray
    """float64 [n_events]"""
    labels: np.ndarray
    """int64 [n_events]: columns of the targets."""
    n_labels: int
    min_overlap: float
    """Frames."""
    speeds: np.ndarray
    """float64 [n_variants]: how much faster than the recording each variant of a row is."""

    def required_overlap(self, lengths: np.ndarray, n_frames: int) -> np.ndarray:
        """Frames of events of these lengths that a span of `n_frames` must have to hold them."""
        return np.maximum(np.minimum(lengths, min(self.min_overlap, n_frames - 1)), 1e-3)

    def label_spans(
        self,
        rows: np.ndarray,
        starts: np.ndarray,
        n_frames: int,
        lengths: np.ndarray,
        variants: np.ndarray | None = None,
    ) -> Tensor:
        """Multi-hot targets float32 [n_spans, n_labels] of spans of `n_frames` at `starts` in rows of the bank.

        `lengths` are those of the clips; a clip no longer than a span is in it as a whole. `variants` are the offline
        copies that the spans are of, 0 (all, by default) as recorded.
        """
        targets = np.zeros((len(rows), self.n_labels), np.float32)
        speeds = self.speeds[variants] if variants is not None else np.ones(len(rows))
        starts = np.where(lengths <= n_frames, 0, starts)
        first, last = self._find_candidates(rows, starts * speeds, (starts + n_frames) * speeds)
        n_candidates = last - first
        for part in np.split(np.arange(len(rows)), _split_points(n_candidates)):
            spans = np.repeat(part, n_candidates[part])
            begins = np.cumsum(n_candidates[part]) - n_candidates[part]
            events = np.arange(len(spans)) + np.repeat(first[part] - begins, n_candidates[part])
            event_starts, event_ends = self.starts[events] / speeds[spans], self.ends[events] / speeds[spans]
            overlaps = np.minimum(event_ends, starts[spans] + n_frames) - np.maximum(event_starts, starts[spans])
            held = overlaps >= self.required_overlap(event_ends - event_starts, n_frames) - 1e-6
            targets[spans[held], self.labels[events[held]]] = 1
        return torch.from_numpy(targets)

    def _find_candidates(self, rows: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first event of each row that may end after `begins`, and the first that starts at `ends` or later."""
        if not len(self.rows):
            return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        scale = 1 + max(self.ends.max(), ends.max(initial=0))
        keys, longest = self.rows * scale + self.starts, (self.ends - self.starts).max()
        first = np.searchsorted(keys, rows * scale + np.maximum(begins - longest, 0), side="left")
        return first, np.maximum(np.searchsorted(keys, rows * scale + np.minimum(ends, scale - 1), side="left"), first)

    def find_free_starts(
        self, rows: Sequence[int], lengths: np.ndarray, n_frames: int, speeds: Sequence[float] = (1.0,)
    ) -> np.ndarray:
        """Where spans of `n_frames` without any part of an event begin: int64 [n, 3] of a row, and the first and the
        last start. `lengths` are those of all rows of the bank; one shorter than a span has one start, 0.

        There is room for a span between them in the copies of all `speeds` (scale_starts).
        """
        chosen = np.isin(self.rows, rows)
        # A stretch without events begins with its row, or behind an event and all before it.
        behind = pd.Series(self.ends[chosen]).groupby(self.rows[chosen]).cummax()
        row_of = np.concatenate([rows, self.rows[chosen]]).astype(np.int64)
        order = row_of.argsort(kind="stable")
        row_of, begins = row_of[order], np.concatenate([np.zeros(len(rows)), behind])[order]
        ends = np.append(np.concatenate([np.zeros(len(rows)), self.starts[chosen]])[order][1:], 0.0)
        is_last = np.append(row_of[1:] != row_of[:-1], True)[: len(ends)]
        ends = np.where(is_last, lengths[row_of].clip(min=n_frames), ends)
        low, high = np.ceil(begins).astype(np.int64), np.floor(ends).astype(np.int64) - n_frames
        in_copies = [scale_starts(low, high, n_frames, speed) for speed in speeds]
        has_room = np.all([last >= first for first, last in in_copies], axis=0) & (lengths[row_of] >= n_frames)
        return np.column_stack([row_of, low, high])[has_room | ~np.isin(row_of, self.rows)]

    def content_of(self, rows: np.ndarray) -> bytes:
        """What a digest of the events of some rows is made of."""
        chosen = np.isin(self.rows, rows)
        names = np.searchsorted(np.sort(rows), self.rows[chosen])
        return b"".join(
            np.ascontiguousarray(each).tobytes()
            for each in (names, self.starts[chosen], self.ends[chosen], self.labels[chosen])
        )


def scale_starts(
    low: np.ndarray, high: np.ndarray, n_frames: int, speeds: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last start of spans of `n_frames` in copies of these speeds, which lie where those of the
    recording do that start from `low` to `high`; the last is below the first where none fits.
    """
    return np.ceil(low / speeds), np.floor((high + n_frames) / speeds) - n_frames


def _split_points(counts: np.ndarray) -> np.ndarray:
    """Where to split items, so that the counts of a part add up to about MAX_PAIRS."""
    return np.flatnonzero(np.diff(np.cumsum(counts) // MAX_PAIRS)) + 1


def make_clip_events(
    events: pd.DataFrame,
    frame_bank: FrameBank,
    labels: Sequence[str],
    features: Features,
    training: Training,
    *,
    quiet: bool = False,
) -> ClipEvents:
    """The events of the clips of a frame bank, from a table as preprocess.dataset.annotations.event_table has it.

    Times count from the recording's beginning, frames from where its frames begin: trimming shifts events, and those in
    silence that it cut off are left out, with a warning unless `quiet`. Raises UserError for a label that is not one of
    `labels`.
    """
    row_of = {clip: row for row, clip in enumerate(frame_bank.clips)}
    events = events[events["clip"].isin(row_of)]
    if len(unknown := events.loc[~events["label"].isin(labels), "label"]):
        raise UserError(
            f"an event has label {unknown.iloc[0]!r}, which is not in the vocabulary: run make features again"
        )
    rows = events["clip"].map(row_of).to_numpy(np.int64)
    lengths = frame_bank.lengths[frame_bank.first_variant[:-1]].numpy()[rows].astype(np.float64)
    origin_s = frame_bank.start_s.numpy()[rows]
    starts, ends = (
        (events[name].to_numpy(np.float64) - origin_s) * frame_bank.frames_per_second for name in ("start_s", "end_s")
    )
    last_window = 1 + features.n_fft / features.hop_length  # without center, frames end so much before their sound
    is_inside = (starts < lengths + last_window) & ((ends > 0) | (starts >= 0))
    if (n_lost := int((~is_inside).sum())) and not quiet:
        get_logger().warning(
            f"{n_lost} of {len(events)} events lie in silence that features.trim_top_db cut off, and are left out"
        )
    starts, ends = starts.clip(0, lengths), ends.clip(0, lengths)
    starts = np.where(ends - starts < 1, np.minimum(starts, np.maximum(lengths - 1, 0)), starts)
    ends = np.maximum(ends, starts + 1)
    columns = {label: column for column, label in enumerate(labels)}
    order = np.flatnonzero(is_inside)
    order = order[np.lexsort([ends[order], starts[order], rows[order]])]
    return ClipEvents(
        rows=rows[order],
        starts=starts[order],
        ends=ends[order],
        labels=events["label"].map(columns).to_numpy(np.int64)[order],
        n_labels=len(labels),
        min_overlap=training.min_overlap_s * frame_bank.frames_per_second,
        speeds=_find_speeds(frame_bank, features),
    )


def _find_speeds(frame_bank: FrameBank, features: Features) -> np.ndarray:
    """How much faster than the recording each variant of a row is; of the offline copies, stretched ones alone are."""
    speeds = np.ones(
        max(int(frame_bank.first_variant.diff().max()), 1 + len(features.pitch_shifts + features.time_stretches))
    )
    first = 1 + len(features.pitch_shifts)
    speeds[first : first + len(features.time_stretches)] = features.time_stretches
    return speeds


class EventCrops:
    """Crops of one epoch: one that holds each event of some rows, and others that hold none."""

    def __init__(
        self,
        events: ClipEvents,
        frame_bank: FrameBank,
        rows: np.ndarray,
        n_frames: int,
        max_frames: int,
        training: Training,
        generator: Generator,
    ) -> None:
        """`training.event_free_rate` crops without an event are drawn for each event, where the rows have room for one
        of `max_frames`, in stretched copies too; a generator draws between which events. Raises UserError without any.
        """
        self._events, self._frame_bank, self._n_frames, self._training = events, frame_bank, n_frames, training
        self._chosen = np.flatnonzero(np.isin(events.rows, rows))
        if not len(self._chosen):
            raise UserError("no event to train on: all lie in recordings that are held out, dropped or unreadable")
        lengths = frame_bank.lengths[frame_bank.first_variant[:-1]].numpy()
        self.n_events, n_free = len(self._chosen), round(training.event_free_rate * len(self._chosen))
        places, speeds = np.empty((0, 3), np.int64), set(events.speeds if training.variant_probability else [1.0])
        if n_free and len(events.find_free_starts(rows.tolist(), lengths, max_frames, [*speeds])):
            places = events.find_free_starts(rows.tolist(), lengths, n_frames, [*speeds])
        self._free_places = _draw_places(places, n_free, generator)
        self.rows = torch.from_numpy(np.concatenate([events.rows[self._chosen], self._free_places[:, 0]]))
        """int64: the row of the frame bank of each crop; those with an event first."""
        self.targets = torch.zeros(len(self.rows), events.n_labels)
        """The label of the event that a crop is drawn for; it may hold more."""
        self.targets[torch.arange(len(self._chosen)), torch.from_numpy(events.labels[self._chosen])] = 1

    def draw(self, order: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Positions [3, *order.shape] of crops, as of train.data.crops, and their targets [*order.shape, n_labels].

        `order` are indices of `rows`. A crop with an event lies anywhere where it holds it.
        """
        draws = torch.rand((3, *order.shape), generator=generator, device=generator.device).cpu()
        order, bank, n_frames = order.cpu(), self._frame_bank, self._n_frames
        rows = self.rows[order]
        variants = draw_variants(draws[:2], bank, rows, self._training.variant_probability)
        copies = (variants - bank.first_variant[rows]).numpy()
        lengths = bank.lengths[variants]
        starts = draw_crop_starts(draws[2], lengths, n_frames, self._training.short_clip_padding)
        low, high = self._find_starts(order.numpy(), lengths.numpy(), self._events.speeds[copies])
        chosen = low + np.floor(draws[2].double().numpy() * (high - low + 1)).clip(max=high - low)
        starts = torch.where(lengths >= n_frames, torch.from_numpy(chosen).long(), starts)
        flat = [each.reshape(-1) for each in (rows.numpy(), starts.numpy(), lengths.numpy(), copies)]
        targets = self._events.label_spans(flat[0], flat[1], n_frames, flat[2], flat[3])
        positions = torch.stack([bank.offsets[variants], lengths, starts]).to(bank.frames.device)
        return positions, targets.view(*order.shape, -1)

    def _find_starts(self, order: np.ndarray, lengths: np.ndarray, speeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last start of a crop, whole frames in its variant, that holds its event, or has none."""
        events, n_frames, n_events = self._events, self._n_frames, len(self._chosen)
        chosen = self._chosen[order.clip(max=n_events - 1)]
        starts, ends = events.starts[chosen] / speeds, events.ends[chosen] / speeds
        required = events.required_overlap(ends - starts, n_frames)
        low, high = np.ceil(starts + required - n_frames), np.floor(ends - required)
        if len(self._free_places):
            places = self._free_places[(order - n_events).clip(min=0)]
            free_low, free_high = scale_starts(places[..., 1], places[..., 2], n_frames, speeds)
            low, high = np.where(order < n_events, low, free_low), np.where(order < n_events, high, free_high)
        surplus = np.maximum(lengths - n_frames, 0)
        low = low.clip(0, surplus)
        return low, np.maximum(high.clip(0, surplus), low)


def _draw_places(places: np.ndarray, number: int, generator: Generator) -> np.ndarray:
    """`number` of some places [n, 3], as of find_free_starts, each as likely as it has starts."""
    draws = torch.rand(number, generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
    bounds = np.cumsum(places[:, 2] - places[:, 1] + 1)
    if not len(bounds):
        return places
    drawn = np.minimum((draws * bounds[-1]).astype(np.int64), bounds[-1] - 1)
    return places[np.searchsorted(bounds, drawn, side="right")]
