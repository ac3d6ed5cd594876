"""Batches of one epoch: which clips, random crops of them, augmented, all where the network is."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from core.errors import UserError
from recipe import Training
from train.augment.pipeline import build_augmentations
from train.data.crops import draw_crops, gather_crops
from train.data.events import EventCrops
from train.data.frame_bank import FrameBank
from train.data.prefetch import prefetch, read_shuffled


@dataclass(frozen=True)
class Batch:
    """The input of one step, on the device."""

    x: Tensor
    """float32 [batch, n_frames, n_bins] in the unit of the features."""
    y: Tensor
    """float32 [batch, n_labels] targets of 0 to 1."""
    noisy: Tensor
    """bool [batch]: the clip, or one mixed into it, has unchecked labels."""
    rows: Tensor
    """int64 [batch] on the host: the rows of the frame bank, into which others may be mixed."""


class Batches:
    """One epoch of batches; iterating again draws another epoch from the generators.

    Each curated clip comes once, with `noisy_rate` noisy clips for each of them, in random order; more of the same fill
    up the last batch. Where no clip is curated, the noisy ones come once each. With `balance` as many curated clips and
    as many noisy ones are drawn, those of rare labels among them more often.
    """

    def __init__(
        self,
        frame_bank: FrameBank,
        rows: Sequence[int],
        targets: Tensor,
        training: Training,
        generator_for: Callable[[str], Generator],
        *,
        noisy: Tensor,
        n_frames: int,
        n_bins: int,
        noise_power: Tensor | None = None,
        share: slice = slice(None),
        event_crops: EventCrops | None = None,
    ) -> None:
        """`targets` [len(rows), n_labels] and `noisy` bool [len(rows)], on the host, belong to `rows` of the bank;
        `generator_for` gives each purpose a generator on the bank's device. Crops have `n_frames`, and `n_bins`
        averaged from the store's, as has `noise_power` for the augmentation `noise`. Of several processes that draw
        the same order, each makes a `share` of each batch. Crops of clips with labels in time are
        of `event_crops`, whose rows and targets are given. Raises UserError where no clip is left, or an augmentation
        does not suit the frames.
        """
        if not len(rows):
            raise UserError("no clips to train on: all of them are held out, dropped or unreadable (see failed.csv)")
        self._frame_bank, self._training, self._share = frame_bank, training, share
        self._event_crops = event_crops
        self._n_frames, self._n_bins = n_frames, n_bins
        self._augmentations = build_augmentations(training, frame_bank.kind, noise_power)
        self._generators = {purpose: generator_for(purpose) for purpose in ("order", "crops", *self._augmentations)}
        self._rows = torch.as_tensor(rows)
        # One more label for 'noisy', because mixing then marks each mixture that holds a noisy clip.
        self._targets = torch.cat([targets.float(), noisy[:, None].float()], 1).to(frame_bank.device)
        curated, self._noisy = (torch.nonzero(chosen).flatten().to(frame_bank.device) for chosen in (~noisy, noisy))
        self._curated = curated if len(curated) else self._noisy
        self._n_noisy = round(training.noisy_rate * len(curated)) if len(self._noisy) else 0

    def __len__(self) -> int:
        return -(-(len(self._curated) + self._n_noisy) // self._training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Draw all crops of an epoch before its first batch, so that they can be read ahead."""
        order, frame_bank = self._draw_order()[:, self._share], self._frame_bank
        rows = self._rows[order.cpu()]
        generator = self._generators["crops"]
        held: Tensor | None = None
        if self._event_crops is None:
            positions = draw_crops(frame_bank, rows, self._n_frames, self._training, generator)
        else:
            positions, held = self._event_crops.draw(order, generator)

        def gather(some: Tensor) -> Tensor:
            return gather_crops(frame_bank, some, self._n_frames, self._training.short_clip_padding)

        steps, cancelled = range(len(self)), threading.Event()
        if not frame_bank.offloaded:
            stored_crops: Iterable[Tensor] = (gather(positions[:, step]) for step in steps)
        elif not frame_bank.from_file:
            stored_crops = prefetch(lambda step: gather(positions[:, step]), len(self), frame_bank.device)
        else:
            shuffled = read_shuffled(gather, positions, self._buffer_steps, cancelled)
            stored_crops = prefetch(lambda _: next(shuffled), len(self), frame_bank.device)
        try:
            for step, stored in zip(steps, stored_crops, strict=True):
                y = self._targets[order[step]]
                if held is not None:
                    y[:, :-1] = held[step].to(y.device)
                yield self._augment(stored, y, rows[step])
        finally:
            cancelled.set()

    def _augment(self, stored: Tensor, y: Tensor, rows: Tensor) -> Batch:
        x = self._frame_bank.dequantise(stored)
        for name, augmentation in self._augmentations.items():
            if name != "pitch_roll":  # which counts bins of the store
                x = self._average_bins(x)
            x, y = augmentation(x, y, self._generators[name])
        return Batch(self._average_bins(x), y[:, :-1], y[:, -1] > 0, rows)

    def _average_bins(self, x: Tensor) -> Tensor:
        return x if x.shape[2] == self._n_bins else functional.adaptive_avg_pool1d(x, self._n_bins)

    def _draw_order(self) -> Tensor:
        """[steps, batch_size] int64: the clips of each step, as indices of the rows."""
        curated, noisy, n_drawn = self._curated, self._noisy, len(self) * self._training.batch_size
        if self._training.balance:
            clips = torch.cat([self._balance(curated, len(curated)), self._balance(noisy, self._n_noisy)])
        else:
            clips = torch.cat([curated, self._draw(noisy, self._n_noisy)])
        order = torch.cat([self._shuffle(clips), self._draw(clips, n_drawn - len(clips))])
        if self._frame_bank.from_file and self._buffer_steps < len(self):
            buffers = self._by_extents(order).split(self._buffer_steps * self._training.batch_size)
            order = torch.cat([self._shuffle(buffer) for buffer in buffers])
        return order.view(-1, self._training.batch_size)

    @property
    def _buffer_steps(self) -> int:
        """Steps whose crops are shuffled together: as many as fit in a buffer, evenly over the epoch."""
        frame_bank, n_steps = self._frame_bank, len(self)
        crop_bytes = self._n_frames * frame_bank.n_bins * frame_bank.frames.itemsize
        n_bytes = int(self._training.shuffle_buffer_mb * 2**20)
        n_buffers = -(-n_steps // max(n_bytes // (crop_bytes * self._training.batch_size), 1))
        return -(-n_steps // n_buffers)

    def _by_extents(self, order: Tensor) -> Tensor:
        """`order` with the clips of an extent together, extent after extent in random order."""
        extents = self._frame_bank.extents(self._rows[order.cpu()]).to(order.device)
        all_extents = torch.arange(int(extents.max()) + 1, device=order.device)
        return order[self._shuffle(all_extents)[extents].argsort(stable=True)]

    def _shuffle(self, values: Tensor) -> Tensor:
        return values[torch.randperm(len(values), generator=self._generators["order"], device=values.device)]

    def _draw(self, clips: Tensor, number: int) -> Tensor:
        """`number` of `clips` in random order, none twice before all came."""
        permutations = [self._shuffle(clips) for _ in range(0, number, max(len(clips), 1))]
        return torch.cat([clips[:0], *permutations])[:number]

    def _balance(self, clips: Tensor, number: int) -> Tensor:
        """`number` of `clips`, each as often as its weight says, up or down to a whole number."""
        if not number:
            return clips[:0]
        bounds = balance_weights(self._targets[clips, :-1], self._training.balance).cumsum(0)
        offset = torch.rand(1, generator=self._generators["order"], dtype=bounds.dtype, device=clips.device)
        places = (torch.arange(number, device=clips.device) + offset) * (bounds[-1] / number)
        return clips[torch.searchsorted(bounds, places, right=True).clamp(max=len(clips) - 1)]


def balance_weights(targets: Tensor, balance: float) -> Tensor:
    """How often each clip is drawn, relative to the others: float64 [n_clips] of targets [n_clips, n_labels].

    The weight is the inverse frequency of the clip's rarest label, to the power of `balance`; having no label counts as
    one. At 1, labels of clips with one label each are drawn alike.
    """
    present = torch.cat([targets >= 0.5, ~(targets >= 0.5).any(1, keepdim=True)], 1)
    counts = present.sum(0).clamp(min=1).double()
    return torch.where(present, 1 / counts, 0).amax(1) ** balance
