"""Pictures and sound of clips for the page: from a dataset's store, or from the beginnings of recordings."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from predict.inference.dataset_clips import StoredClips
from predict.inference.input_files import InputFile
from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.trimming import take_samples
from preprocess.frames import build_transform
from preprocess.frames.framing import Frames, Samples
from preprocess.store.reader import Store
from recipe import Features

PREVIEW_S = 60.0
"""Of a recording of no dataset, the picture shows so much."""


class ClipMedia(Protocol):
    """Where pictures and sound of clips come from."""

    def frames(self, clip: str) -> Frames | None:
        """Frames [n_frames, n_bins] to be shown; None where the clip cannot be read."""

    def duration_s(self, clip: str) -> float | None:
        """Length of the recording, where it is known."""

    def path(self, clip: str) -> Path | None:
        """The recording."""


class StoredClipMedia:
    """The clips of a dataset, whole."""

    def __init__(self, store: Store, paths: Mapping[str, str]) -> None:
        self.stored, self.paths = StoredClips(store, torch.device("cpu")), paths

    def frames(self, clip: str) -> Frames | None:
        """The clip's frames, as networks get them."""
        return self.stored.read(clip).numpy() if clip in self.stored.rows else None

    def duration_s(self, clip: str) -> float | None:
        """As it was when it was read."""
        return self.stored.start_and_duration(clip)[1] if clip in self.stored.rows else None

    def path(self, clip: str) -> Path | None:
        """As the table of clips has it."""
        return Path(self.paths[clip]) if clip in self.paths else None


class InputFileMedia:
    """Recordings of no dataset, by their first PREVIEW_S."""

    def __init__(self, recordings: Sequence[InputFile], features: Features) -> None:
        self.paths = {each.clip: each.path for each in recordings}
        self.features, self.transform = features, build_transform(features)

    def frames(self, clip: str) -> Frames | None:
        """Frames of the recording's beginning, computed now."""
        path, top_db = self.path(clip), self.features.top_db
        try:
            frames = np.concatenate(list(self.transform(self._first_samples(path)))) if path else None
        except DecodeError:
            return None
        return frames if frames is None or top_db is None else np.maximum(frames, frames.max() - np.float32(top_db))

    def _first_samples(self, path: Path) -> Iterator[Samples]:
        sample_rate_hz = self.features.sample_rate_hz
        return take_samples(decode_blocks(path, sample_rate_hz), round(PREVIEW_S * sample_rate_hz))

    def duration_s(self, clip: str) -> float | None:
        """Not known without decoding all of it."""
        return None

    def path(self, clip: str) -> Path | None:
        """Where it was found."""
        return self.paths.get(clip)
