"""The feature store in memory: the frames of some clips as one tensor, as near the device as they fit."""

from core.entrypoint import get_logger

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.device import to_device
from core.errors import UserError
from core.resources import available_bytes
from preprocess.store.reader import Store, open_store
from recipe import Features

DEVICE_MEMORY_FRACTION = 0.6
"""Of the device's free memory; the rest is for the network and its activations."""
HOST_MEMORY_FRACTION = 0.7
MOMENT_VALUES = 1 << 20
"""Values that are summed at once."""
EXTENT_BYTES = 1 << 22
"""So large that a disk reads extents in any order nearly as fast as from start to end."""


@dataclass(frozen=True)
class FrameBank:
    """Frames of clips, end to end, in the store's type. A *row* is a clip, of one or more *variants*.

    Variants `first_variant[row] : first_variant[row + 1]` belong to a row: first the recording, then its offline
    copies. Variant v is `frames[offsets[v] : offsets[v] + lengths[v]]`; these three are int64 on the host.
    """

    clips: list[str]
    """Names, a row each."""
    digests: list[str]
    """Of the frames of each row's recording."""
    frames: Tensor
    """[total, n_bins] as stored: on the device, in host memory, or pages of the file."""
    offsets: Tensor
    lengths: Tensor
    first_variant: Tensor
    start_s: Tensor
    """float64 [n_rows] on the host: seconds cut off each recording's start; below 0 where silence was put there."""
    duration_s: Tensor
    """float64 [n_rows] on the host: of each recording, before anything was cut off."""
    device: torch.device
    """The device of the network, for which batches are made."""
    offloaded: bool
    """Frames are elsewhere than on the device, so batches are fetched a step ahead."""
    from_file: bool
    """Frames fit in no memory, so they are read from the file in extents, stretches of EXTENT_BYTES."""
    kind: str
    """Of `features.kind`."""
    frames_per_second: float
    scale: float
    """A frame's value is stored * scale + offset."""
    offset: float

    @property
    def n_bins(self) -> int:
        return self.frames.shape[1]

    @cached_property
    def min_length(self) -> int:
        return int(self.lengths.min())

    def dequantise(self, stored: Tensor) -> Tensor:
        """float32 values in the unit of the features (dB, samples) from values as stored."""
        values = stored.float()
        return values if (self.scale, self.offset) == (1.0, 0.0) else values * self.scale + self.offset

    def extents(self, rows: Tensor) -> Tensor:
        """The extent in which each of `rows` (int64, on the host) begins."""
        return self.offsets[self.first_variant[rows]] * self.n_bins * self.frames.itemsize // EXTENT_BYTES

    def clip_frames(self, row: int) -> Tensor:
        """All frames of a clip's recording: float32 [n, n_bins] in physical units, on the device."""
        variant = int(self.first_variant[row])
        start, length = int(self.offsets[variant]), int(self.lengths[variant])
        return self.dequantise(to_device(self.frames[start : start + length], self.device))

    def bin_moments(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Mean and variance of each bin over all frames of some rows, copies too: float64 [n_bins], on the host."""
        sums = torch.zeros(2, self.n_bins, dtype=torch.float64, device=self.frames.device)
        n_frames, first_variant = 0, self.first_variant.tolist()
        for variant in (each for row in rows for each in range(first_variant[row], first_variant[row + 1])):
            start, length = int(self.offsets[variant]), int(self.lengths[variant])
            for block in self.frames[start : start + length].split(max(MOMENT_VALUES // self.n_bins, 1)):
                values = self.dequantise(block).double()
                sums += torch.stack([values.sum(0), values.square().sum(0)])
            n_frames += length
        mean, mean_square = sums.cpu() / n_frames
        return mean, (mean_square - mean.square()).clamp(min=0)


def load_frame_bank(
    store_path: Path,
    features: Features,
    clips: Sequence[str],
    device: torch.device | str,
    *,
    device_bytes: int | None = None,
    host_bytes: int | None = None,
    shared: bool = False,
) -> FrameBank:
    """Read the frames of `clips`, in that order and without those that the store lacks: onto the device if they fit in
    `device_bytes`, else into host memory if they fit in `host_bytes`, else map the file, to be read in extents. The
    last two are logged, unless 0 bytes ask for them. By default the bytes are shares of the free memory. Where frames
    fit in host memory, `shared` maps the file, so that parallel processes hold one copy. Raises UserError if the store
    holds none of the clips.
    """
    device = torch.device(device)
    with open_store(store_path, features) as store:
        names, variants, first_variant = _find_variants(store, clips)
        if not names:
            raise UserError(f"{store_path}: holds none of the {len(clips)} clips asked for; run make features again")
        lengths = np.diff(store.offsets)[variants]
        if lengths.min() < 1:
            raise UserError(f"{store_path}: a clip has no frames; delete the file and run make features again")
        n_bytes = int(lengths.sum()) * store.n_bins * np.dtype(store.dtype).itemsize
        storage_device = _choose_storage_device(n_bytes, device, device_bytes, host_bytes)
        if storage_device is None or (shared and storage_device.type == "cpu"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch warns of pages that cannot be written to
                frames, offsets = torch.from_numpy(store.memory_map(variants.tolist())), store.offsets[variants]
        else:
            frames, offsets = _read_frames(store, variants, lengths, storage_device), np.cumsum(lengths) - lengths
        return FrameBank(
            clips=names,
            digests=[store.digests[variant] for variant in variants[first_variant[:-1]]],
            frames=frames,
            offsets=torch.from_numpy(offsets),
            lengths=torch.from_numpy(lengths),
            first_variant=torch.from_numpy(first_variant),
            start_s=torch.from_numpy(store.start_s[variants[first_variant[:-1]]]),
            duration_s=torch.from_numpy(store.duration_s[variants[first_variant[:-1]]]),
            device=device,
            offloaded=storage_device != device,
            from_file=storage_device is None,
            kind=features.kind,
            frames_per_second=store.frames_per_second,
            scale=store.scale,
            offset=store.offset,
        )


def _find_variants(store: Store, clips: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names found, the store's rows of each (variants in order), and where each name's rows begin [n + 1]."""
    found: dict[str, list[int]] = {clip: [] for clip in clips}
    for variant in np.argsort(store.variants, kind="stable"):
        if (clip := store.clips[variant]) in found:
            found[clip].append(int(variant))
    found = {clip: variants for clip, variants in found.items() if variants}
    variants = np.array([variant for group in found.values() for variant in group], dtype=np.int64)
    first_variant = np.cumsum([0, *map(len, found.values())], dtype=np.int64)
    return list(found), variants, first_variant


def _choose_storage_device(
    n_bytes: int, device: torch.device, device_bytes: int | None, host_bytes: int | None
) -> torch.device | None:
    """The device, the host, or None for the file: the nearest where `n_bytes` fit."""
    host = torch.device("cpu")
    if host_bytes is None:
        host_bytes = int(HOST_MEMORY_FRACTION * available_bytes())
    if device_bytes is None:
        is_cuda = device.type == "cuda"
        device_bytes = int(DEVICE_MEMORY_FRACTION * torch.cuda.mem_get_info(device)[0]) if is_cuda else host_bytes
    if n_bytes <= device_bytes:
        return device
    size = f"{n_bytes / 1e9:.3g} GB of frames"
    if n_bytes <= host_bytes:
        if device != host and device_bytes:
            get_logger().info(f"{size} pass the {device_bytes / 1e9:.3g} GB for them on {device}: kept in host memory")
        return host
    if host_bytes:
        get_logger().info(
            f"{size} pass the {host_bytes / 1e9:.3g} GB for them in host memory: read from the file in extents"
        )
    return None


def _read_frames(store: Store, variants: np.ndarray, lengths: np.ndarray, storage_device: torch.device) -> Tensor:
    """The variants' frames end to end on a device: read into host memory at once, or into others one at a time."""
    rows, n_frames = variants.tolist(), int(lengths.sum())
    if storage_device.type == "cpu":
        host_frames = np.empty((n_frames, store.n_bins), store.dtype)  # NumPy, unlike torch, asks for large pages
        store.read_into(host_frames, rows)
        return torch.from_numpy(host_frames)
    transfer_buffer = np.empty((int(lengths.max()), store.n_bins), store.dtype)
    frames = torch.empty(n_frames, store.n_bins, dtype=torch.from_numpy(transfer_buffer).dtype, device=storage_device)
    for row, chunk in zip(rows, frames.split(lengths.tolist()), strict=True):
        store.read_into(transfer_buffer[: len(chunk)], [row])
        chunk.copy_(torch.from_numpy(transfer_buffer[: len(chunk)]))
    return frames
