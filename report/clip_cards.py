"""What the page of `make inspect` shows of a clip: its picture, sound, scores and saliency maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from predict.inference.dataset_clips import StoredClips
from predict.output.summary import SubmissionSummary
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import take_samples
from preprocess.audio.decode import decode_blocks
from preprocess.frames import Transform, build_transform
from preprocess.frames.framing import Frames
from preprocess.store.reader import Store
from recipe import Features
from report.media import audio_uri, picture_uri, saliency_uri
from report.saliency import SaliencyMapper
from report.summary import top_labels

AUDIO_S = 10.0
"""Seconds of a clip that the page plays."""
PREVIEW_S = 60.0
"""Seconds of a recording of no dataset that its picture shows."""
N_TOP_LABELS = 5


@dataclass(frozen=True)
class ClipMedia:
    """The recordings of clips, and their frames: those of a store, or else of the beginning of the recording."""

    paths: Mapping[str, Path]
    features: Features
    store: Store | None = None

    @cached_property
    def _stored(self) -> StoredClips | None:
        return StoredClips(self.store, torch.device("cpu")) if self.store else None

    @cached_property
    def _transform(self) -> Transform:
        return build_transform(self.features)

    def frames(self, clip: str) -> Frames | None:
        """Frames [n_frames, n_bins] as networks get them; None where the clip cannot be read."""
        if self._stored:
            return self._stored.read(clip).numpy() if clip in self._stored.rows else None
        if clip not in self.paths:
            return None
        sample_rate_hz, top_db = self.features.sample_rate_hz, self.features.top_db
        samples = take_samples(decode_blocks(self.paths[clip], sample_rate_hz), round(PREVIEW_S * sample_rate_hz))
        try:
            frames = np.concatenate(list(self._transform(samples)))
        except DecodeError:
            return None
        return frames if top_db is None else np.maximum(frames, frames.max() - np.float32(top_db))

    def duration_s(self, clip: str) -> float | None:
        """Length of a clip in the store; others are not decoded to their end."""
        return self._stored.start_and_duration(clip)[1] if self._stored and clip in self._stored.rows else None

    def audio_uri(self, clip: str) -> str | None:
        """The recording as a data URI, or None where it is no longer there or cannot be read."""
        try:
            return audio_uri(self.paths[clip], AUDIO_S) if clip in self.paths else None
        except DecodeError:
            return None


def build_clip_cards(
    summary: SubmissionSummary, chosen: dict[int, list[str]], clip_media: ClipMedia, mapper: SaliencyMapper | None
) -> list[dict[str, Any]]:
    """What the page shows of each chosen clip."""
    cards = []
    for index, reasons in tqdm(chosen.items(), "page", unit="clip", disable=None):
        clip, labels = summary.clips[index], top_labels(summary, index, N_TOP_LABELS)
        frames = clip_media.frames(clip)
        if mapper and frames is not None:
            maps = mapper.saliency(clip, torch.from_numpy(frames), [label["label"] for label in labels])
            labels = [label | {"saliency": saliency_uri(each)} for label, each in zip(labels, maps, strict=True)]
        cards.append(
            {
                "clip": clip,
                "reasons": reasons,
                "picture": None if frames is None else picture_uri(frames),
                "duration_s": clip_media.duration_s(clip),
                # Without frames its decoder may have crashed, and this process would too.
                "audio": None if frames is None else clip_media.audio_uri(clip),
                "has_truth": bool(summary.has_truth[index]),
                "labels": labels,
            }
        )
    return cards
