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

from core.errors import BadInput
from core.resources import available_bytes
from preprocess.store.reader import Store, open_store
from recipe import Features

# The rest of the device's memory is for the network and its activations, the rest of the host's for the system.
DEVICE_SHARE = 0.6
HOST_SHARE = 0.7


@dataclass(frozen=True)
class Memory:
    """Frames of clips, end to end, in the store's type. A *row* is a clip; an *entry* is one variant of it.

    Entries `first_entry[row] : first_entry[row + 1]` belong to a row: first the recording, then its offline copies.
    Entry e is `frames[offsets[e] : offsets[e] + lengths[e]]`.
    """

    clips: list[str]
    """Names, a row each, in the order they were asked for."""
    frames: Tensor
    """[total, n_bins] as stored: on the device, in host memory, or pages of the file."""
    offsets: Tensor
    """[n_entries] int64 on the host: an entry's first frame."""
    lengths: Tensor
    """[n_entries] int64 on the host: an entry's number of frames."""
    first_entry: Tensor
    """[n_rows + 1] int64 on the host."""
    device: torch.device
    """Where batches are wanted."""
    remote: bool
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
    def shortest(self) -> int:
        """Frames of the shortest entry."""
        return int(self.lengths.min())

    def physical(self, stored: Tensor) -> Tensor:
        """float32 values in the unit of the features (dB, samples) from values as stored."""
        values = stored.float()
        return values if (self.scale, self.offset) == (1.0, 0.0) else values * self.scale + self.offset

    def clip_frames(self, row: int) -> Tensor:
        """All frames of a clip's recording: float32 [n, n_bins] in physical units, on the device."""
        entry = int(self.first_entry[row])
        start, length = int(self.offsets[entry]), int(self.lengths[entry])
        return self.physical(self.frames[start : start + length].to(self.device))


def load_memory(
    store_path: Path,
    features: Features,
    clips: Sequence[str],
    device: torch.device | str,
    *,
    device_bytes: int | None = None,
    host_bytes: int | None = None,
) -> Memory:
    """Read the wanted clips' frames once: onto the device if they fit in `device_bytes`, else into host memory if they
    fit in `host_bytes`, else map the file; the last two say so in a line. By default the bytes are shares of what is
    free. Clips that the store lacks are left out; raises BadInput if it holds none of them.
    """
    device = torch.device(device)
    with open_store(store_path, features) as store:
        names, entries, first_entry = _find_entries(store, clips)
        if not names:
            raise BadInput(f"{store_path}: holds none of the {len(clips)} clips asked for; run make features again")
        lengths = np.diff(store.offsets)[entries]
        if lengths.min() < 1:
            raise BadInput(f"{store_path}: a clip has no frames; delete the file and run make features again")
        n_bytes = int(lengths.sum()) * store.n_bins * np.dtype(store.dtype).itemsize
        home = _choose_home(n_bytes, device, device_bytes, host_bytes)
        if home is None:
            frames, offsets = torch.from_numpy(store.map(entries.tolist())), store.offsets[entries]
        else:
            frames, offsets = _read_frames(store, entries, lengths, home), np.cumsum(lengths) - lengths
        return Memory(
            clips=names,
            frames=frames,
            offsets=torch.from_numpy(offsets),
            lengths=torch.from_numpy(lengths),
            first_entry=torch.from_numpy(first_entry),
            device=device,
            remote=home != device,
            kind=features.kind,
            frames_per_second=store.frames_per_second,
            scale=store.scale,
            offset=store.offset,
        )


def _find_entries(store: Store, clips: Sequence[str]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Names found, the store's rows of each (variants in order), and where each name's rows begin [n + 1]."""
    found: dict[str, list[int]] = {clip: [] for clip in clips}
    for entry in np.argsort(store.variants, kind="stable"):
        if (clip := store.clips[entry]) in found:
            found[clip].append(int(entry))
    found = {clip: entries for clip, entries in found.items() if entries}
    entries = np.array([entry for group in found.values() for entry in group], dtype=np.int64)
    first_entry = np.cumsum([0, *map(len, found.values())], dtype=np.int64)
    return list(found), entries, first_entry


def _choose_home(
    n_bytes: int, device: torch.device, device_bytes: int | None, host_bytes: int | None
) -> torch.device | None:
    """The device, the host, or None for the file: the nearest where `n_bytes` fit."""
    host = torch.device("cpu")
    if host_bytes is None:
        host_bytes = int(HOST_SHARE * available_bytes())
    if device_bytes is None:
        device_bytes = int(DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host_bytes
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


def _read_frames(store: Store, entries: NDArray[np.int64], lengths: NDArray[np.int64], home: torch.device) -> Tensor:
    """The entries' frames end to end on `home`: straight into the host's memory, or an entry at a time through it."""
    rows, n_frames = entries.tolist(), int(lengths.sum())
    if home.type == "cpu":
        # NumPy asks the system for large pages, torch does not: half a gigabyte of them filled 1.5 to 4 times as fast
        # in four turns of five.
        held = np.empty((n_frames, store.n_bins), store.dtype)
        store.read_into(held, rows)
        return torch.from_numpy(held)
    passing = np.empty((int(lengths.max()), store.n_bins), store.dtype)
    frames = torch.empty(n_frames, store.n_bins, dtype=torch.from_numpy(passing).dtype, device=home)
    for row, part in zip(rows, frames.split(lengths.tolist()), strict=True):
        store.read_into(passing[: len(part)], [row])
        part.copy_(torch.from_numpy(passing[: len(part)]))
    return frames
