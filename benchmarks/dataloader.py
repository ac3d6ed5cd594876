"""Feeding a network as one would otherwise write it: NumPy crops augmented one by one, and a DataLoader."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, get_worker_info

from recipe import Training
from train.data.batches import Batch

Frames = NDArray[np.float32]


class CropDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """A random crop of each clip, with the augmentations of benchmarks.training done sample by sample."""

    def __init__(
        self, clips: Sequence[NDArray[Any]], targets: NDArray[np.float32], n_frames: int, training: Training
    ) -> None:
        self.clips, self.targets, self.n_frames, self.training = clips, targets, n_frames, training
        self.random = np.random.default_rng(training.seed)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        training, random = self.training, self.random
        x, y = self.crop(index), self.targets[index]
        chance = random.random()
        if chance < training.mixup_probability + training.crossfade_probability:
            partner = int(random.integers(len(self)))
            other = self.crop(partner)
            if chance < training.mixup_probability:
                share = np.float32(training.mixup_max_share * random.beta(training.mixup_alpha, training.mixup_alpha))
                x, y = (1 - share) * x + share * other, (1 - share) * y + share * self.targets[partner]
            else:
                x, y = self.crossfade(x, other), np.maximum(y, self.targets[partner])
        if random.random() < training.time_mask_probability:
            x = self.mask(x, training.time_mask_share)
        if random.random() < training.frequency_mask_probability:
            x = self.mask(x.T, training.frequency_mask_share).T
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y), index

    def crop(self, index: int) -> Frames:
        """A crop of float32 [n_frames, n_bins]; a short clip is wrapped round."""
        clip = self.clips[index]
        if len(clip) < self.n_frames:
            start = self.random.integers(len(clip))
            x = clip[(start + np.arange(self.n_frames)) % len(clip)].astype(np.float32)
        else:
            start = self.random.integers(len(clip) - self.n_frames + 1)
            x = clip[start : start + self.n_frames].astype(np.float32)
        return self.resize(x) if self.random.random() < self.training.resized_crop_probability else x

    def resize(self, x: Frames) -> Frames:
        sizes = [round(length * self.random.uniform(self.training.resized_crop_scale, 1)) for length in x.shape]
        i, j = (self.random.integers(length - size + 1) for length, size in zip(x.shape, sizes, strict=True))
        part = torch.from_numpy(x[i : i + sizes[0], j : j + sizes[1]])[None, None]
        return functional.interpolate(part, x.shape, mode="bilinear", align_corners=True)[0, 0].numpy()

    def crossfade(self, x: Frames, other: Frames) -> Frames:
        middle = self.random.uniform(0.25, 0.75)
        width = max(self.random.uniform(0, self.training.crossfade_share), 1 / len(x))
        time = ((np.arange(len(x), dtype=np.float32) + 0.5) / len(x))[:, None]
        rising = expit((time - middle) * np.float32(4 / width))
        power = (1 - rising) * 10 ** (x / 10) + rising * 10 ** (other / 10)
        return (10 * np.log10(np.maximum(power, np.finfo(np.float32).tiny))).astype(np.float32)

    def mask(self, x: Frames, share: float) -> Frames:
        """Hide spans of the first axis."""
        x, fill = x.copy(), x.mean()
        for _ in range(self.random.integers(1, self.training.max_masks + 1)):
            width = self.random.integers(int(share * len(x)) + 1)
            start = self.random.integers(len(x) - width + 1)
            x[start : start + width] = fill
        return x


def loader_batches(dataset: CropDataset, device: torch.device, n_workers: int) -> Generator[Batch, None, None]:
    """Batches without end from a DataLoader with `n_workers` processes, copied from pinned memory to a GPU."""
    loader = DataLoader(
        dataset,
        batch_size=dataset.training.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_seed_worker,
    )
    while True:
        for x, y, rows in loader:
            noisy = torch.zeros(len(x), dtype=torch.bool, device=device)
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            yield Batch(x, y, noisy, rows)


def _seed_worker(_: int) -> None:
    worker = get_worker_info()
    assert worker is not None
    worker.dataset.random = np.random.default_rng(worker.seed)  # type: ignore[attr-defined]
