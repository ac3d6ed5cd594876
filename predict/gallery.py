"""What the page shows of clips: the frames of a dataset's store, or of recordings' beginnings; and their sound."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from predict.recordings import Recording
from preprocess.coding import Frames
from preprocess.decode import DecodeError, Samples, decode_blocks
from preprocess.frames import build_transform
from preprocess.store import Store
from recipe import Features

BEGINNING_S = 60.0
"""Of a recording of no dataset, as much is shown as a picture."""


class Gallery(Protocol):
    """Where pictures and sound of clips come from."""

    def frames(self, clip: str) -> Frames | None:
        """Frames [n_frames, n_bins] to be shown; None where the clip cannot be read."""

    def duration_s(self, clip: str) -> float | None:
        """Length of the recording, where it is known."""

    def path(self, clip: str) -> Path | None:
        """The recording."""


class StoreGallery:
    """The clips of a dataset, whole."""

    def __init__(self, store: Store, paths: Mapping[str, str]) -> None:
        self.store, self.paths = store, paths
        self.rows = {clip: row for row, clip in enumerate(store.clips) if store.variants[row] == 0}

    def frames(self, clip: str) -> Frames | None:
        """The clip's frames as the networks hear them."""
        if clip not in self.rows:
            return None
        return self.store.read(self.rows[clip]) * np.float32(self.store.scale) + np.float32(self.store.offset)

    def duration_s(self, clip: str) -> float | None:
        """As it was when it was read."""
        return float(self.store.duration_s[self.rows[clip]]) if clip in self.rows else None

    def path(self, clip: str) -> Path | None:
        """As the table of clips has it."""
        return Path(self.paths[clip]) if clip in self.paths else None


class RecordingGallery:
    """Recordings of no dataset, by their first BEGINNING_S."""

    def __init__(self, recordings: Sequence[Recording], features: Features) -> None:
        self.paths = {each.clip: each.path for each in recordings}
        self.features, self.transform = features, build_transform(features)

    def frames(self, clip: str) -> Frames | None:
        """Frames of the recording's beginning, computed now."""
        path = self.path(clip)
        try:
            return np.concatenate(list(self.transform(self._beginning(path)))) if path else None
        except DecodeError:
            return None

    def _beginning(self, path: Path) -> Iterator[Samples]:
        left = round(BEGINNING_S * self.features.rate_hz)
        for block in decode_blocks(path, self.features.rate_hz):
            yield block[:left]
            left -= len(block)
            if left <= 0:
                return

    def duration_s(self, clip: str) -> float | None:
        """Not known without decoding all of it."""
        return None

    def path(self, clip: str) -> Path | None:
        """Where it was found, if it is still there."""
        return self.paths.get(clip)
