"""The feature store in memory: the frames of the wanted clips as one tensor, as near the device as they fit."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.errors import UserError
from core.resources import available_bytes
from preprocess.store.reader import Store, open_store
from recipe import Features

# The rest of the device's memory is for the network and its activations, the rest of the host's for the system.
DEVICE_MEMORY_FRACTION = 0.6
HOST_MEMORY_FRACTION = 0.7


@dataclass(frozen=True)
class FrameBank:
    """Frames of clips, end to end, in the store's type. A *row* is a clip, of one or more *variants*.

    Variants `first_variant[row] : first_variant[row + 1]` belong to a row: first the recording, then its offline
    copies. Variant v is `frames[offsets[v] : offsets[v] + lengths[v]]`.
    """

    clips: list[str]
    """Names, a row each, in the order they were asked for."""
    frames: Tensor
    """[total, n_bins] as stored: on the device, in host memory, or pages of the file."""
    offsets: Tensor
    """[n_variants] int64 on the host: a variant's first frame."""
    lengths: Tensor
    """[n_variants] int64 on the host: a variant's number of frames."""
    first_variant: Tensor
    """[n_rows + 1] int64 on the host."""
    device: torch.device
    """Where batches are wanted."""
    offloaded: bool
    """Frames are elsewhere than on the device, so batches are fetched a step ahead."""
    kind: str
    """What the frames are: logmel, waveform..."""
    frames_per_second: float
    scale: float
    """A frame's value is stored * scale + offset."""
    offset: float

    @property
    def n_bins(self) -> int:
        """Bins of a frame."""
        return self.frames.shape[1]

    @cached_property
    def min_length(self) -> int:
        """Frames of the shortest variant."""
        return int(self.lengths.min())

    def dequantise(self, stored: Tensor) -> Tensor:
        """float32 values in the unit of the features (dB, samples) from values as stored."""
        values = stored.float()
        return values if (self.scale, self.offset) == (1.0, 0.0) else values * self.scale + self.offset

    def clip_frames(self, row: int) -> Tensor:
        """All frames of a clip's recording: float32 [n, n_bins] in physical units, on the device."""
        variant = int(self.first_variant[row])
        start, length = int(self.offsets[variant]), int(self.lengths[variant])
        return self.dequantise(self.frames[start : start + length].to(self.device))


def load_frame_bank(
    store_path: Path,
    features: Features,
    clips: Sequence[str],
    device: torch.device | str,
    *,
    device_bytes: int | None = None,
    host_bytes: int | None = None,
) -> FrameBank:
    """Read the wanted clips' frames once: onto the device if they fit in `device_bytes`, else into host memory if they
    fit in `host_bytes`, else map the file; the last two say so in a line. By default the bytes are shares of what is
    free. Clips that the store lacks are left out; raises UserError if it holds none of them.
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
        if storage_device is None:
            frames, offsets = torch.from_numpy(store.memory_map(variants.tolist())), store.offsets[variants]
        else:
            frames, offsets = _read_frames(store, variants, lengths, storage_device), np.cumsum(lengths) - lengths
        return FrameBank(
            clips=names,
            frames=frames,
            offsets=torch.from_numpy(offsets),
            lengths=torch.from_numpy(lengths),
            first_variant=torch.from_numpy(first_variant),
            device=device,
            offloaded=storage_device != device,
            kind=features.kind,
            frames_per_second=store.frames_per_second,
            scale=store.scale,
            offset=store.offset,
        )


def _find_variants(store: Store, clips: Sequence[str]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
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
        device_bytes = (
            int(DEVICE_MEMORY_FRACTION * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host_bytes
        )
    if n_bytes <= device_bytes:
        return device
    size = f"earmark: {n_bytes / 1e9:.3g} GB of frames"
    if n_bytes <= host_bytes:
        if device != host:
            print(
                f"{size} pass the {device_bytes / 1e9:.3g} GB for them on {device}: kept in host memory",
                file=sys.stderr,
            )
        return host
    print(f"{size} pass the {host_bytes / 1e9:.3g} GB for them in host memory: read from the file", file=sys.stderr)
    return None


def _read_frames(
    store: Store, variants: NDArray[np.int64], lengths: NDArray[np.int64], storage_device: torch.device
) -> Tensor:
    """The variants' frames end to end on the device: straight into the host's memory, or one at a time through it."""
    rows, n_frames = variants.tolist(), int(lengths.sum())
    if storage_device.type == "cpu":
        # NumPy asks the system for large pages, torch does not: half a gigabyte of them filled 1.5 to 4 times as fast
        # in four turns of five.
        host_frames = np.empty((n_frames, store.n_bins), store.dtype)
        store.read_into(host_frames, rows)
        return torch.from_numpy(host_frames)
    transfer_buffer = np.empty((int(lengths.max()), store.n_bins), store.dtype)
    frames = torch.empty(n_frames, store.n_bins, dtype=torch.from_numpy(transfer_buffer).dtype, device=storage_device)
    for row, chunk in zip(rows, frames.split(lengths.tolist()), strict=True):
        store.read_into(transfer_buffer[: len(chunk)], [row])
        chunk.copy_(torch.from_numpy(transfer_buffer[: len(chunk)]))
    return frames
