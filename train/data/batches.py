"""Batches of one epoch: which clips, random crops of them, augmented, all where the network is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from core.errors import UserError
from recipe import Training
from train.augment.pipeline import build_augmentations
from train.augment.warp import downsample_bins
from train.data.crops import draw_crops, gather_crops
from train.data.frame_bank import FrameBank
from train.data.prefetch import prefetch


@dataclass(frozen=True)
class Batch:
    """What a step learns from, on the device."""

    x: Tensor
    """float32 [batch, n_frames, n_bins] in the unit of the features."""
    y: Tensor
    """float32 [batch, n_labels] targets of 0 to 1."""
    noisy: Tensor
    """bool [batch]: the clip, or one mixed into it, has unchecked labels."""
    rows: Tensor
    """int64 [batch] rows of the frame bank."""


class Batches:
    """One epoch of batches. Its numbers are drawn from the generator, so iterating again gives another epoch.

    Each curated clip comes once, with `noisy_rate` noisy clips for each of them, in random order; more of the same fill
    up the last batch. Where no clip is curated, the noisy ones come once each.
    """

    def __init__(
        self,
        frame_bank: FrameBank,
        rows: Sequence[int] | Tensor,
        targets: Tensor,
        training: Training,
        generator: Generator,
        *,
        noisy: Tensor,
        n_frames: int,
        n_bins: int,
    ) -> None:
        """`targets` [len(rows), n_labels] and `noisy` bool [len(rows)] belong to `rows` of the bank; the generator is
        on the bank's device. Crops have `n_frames`, and `n_bins` averaged from the store's. Raises UserError where no
        clip is left, or an augmentation does not suit the features.
        """
        device = frame_bank.device
        noisy = noisy.cpu()
        self._frame_bank, self._training, self._generator = frame_bank, training, generator
        self._rows = torch.as_tensor(rows, dtype=torch.int64, device=device)
        # Mixing takes 'noisy' for one more label, so a mixture knows whether a noisy clip is in it.
        self._targets = torch.cat([targets.float().cpu(), noisy[:, None].float()], 1).to(device)
        self._curated = torch.nonzero(~noisy if (~noisy).any() else noisy).flatten().to(device)
        self._noisy = torch.nonzero(noisy).flatten().to(device)
        self._n_noisy = round(training.noisy_rate * len(self._curated)) if noisy.any() and (~noisy).any() else 0
        self._n_frames, self._n_bins = n_frames, n_bins
        self._augmentations = build_augmentations(training, frame_bank.kind)
        if not len(self._curated):
            raise UserError("no clips to train on: all of them are held out, dropped or unreadable (see failed.csv)")

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-(len(self._curated) + self._n_noisy) // self._training.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch. Everything that says which frames are read is drawn before the first."""
        frame_bank, n_frames, short_clip_padding = self._frame_bank, self._n_frames, self._training.short_clip_padding
        order = self._draw_order()
        crops = draw_crops(
            frame_bank,
            self._rows[order].cpu(),
            self._generator,
            n_frames=n_frames,
            short_clip_padding=short_clip_padding,
            variant_probability=self._training.variant_probability,
        )

        def fetch(step: int) -> Tensor:
            return gather_crops(frame_bank, crops[step], n_frames, short_clip_padding)

        steps = range(len(self))
        stored_crops = prefetch(fetch, len(self), frame_bank.device) if frame_bank.offloaded else map(fetch, steps)
        for step, stored in zip(steps, stored_crops, strict=True):
            yield self._augment(stored, order[step])

    def _augment(self, stored: Tensor, clips: Tensor) -> Batch:
        x, y = self._frame_bank.dequantise(stored), self._targets[clips]
        if self._n_bins < self._frame_bank.n_bins:
            x = downsample_bins(x, self._n_bins)
        for augmentation in self._augmentations:
            x, y = augmentation(x, y, self._generator)
        return Batch(x, y[:, :-1], y[:, -1] > 0, self._rows[clips])

    def _draw_order(self) -> Tensor:
        """[steps, batch_size] int64, which of the rows come in each step."""
        clips = torch.cat([self._curated, self._draw(self._noisy, self._n_noisy)])
        n_drawn = len(self) * self._training.batch_size
        order = torch.cat([self._draw(clips, len(clips)), self._draw(clips, n_drawn - len(clips))])
        return order.view(-1, self._training.batch_size)

    def _draw(self, clips: Tensor, number: int) -> Tensor:
        """`number` of `clips` in random order, none twice before all came."""
        permutations = [
            clips[torch.randperm(len(clips), generator=self._generator, device=clips.device)]
            for _ in range(-(-number // max(len(clips), 1)))
        ]
        return torch.cat([clips[:0], *permutations])[:number]
