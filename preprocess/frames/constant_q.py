"""Constant-Q spectra and their chroma, by librosa, in segments that bound the memory of a long recording."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from preprocess.frames.framing import Frames, Samples
from recipe import Features
from recipe.features import CHROMA_OCTAVES

SEGMENT_S = 30.0
"""Frames computed at once, in seconds; a shorter recording is computed whole."""


class ConstantQ:
    """`librosa.cqt` in dB, or `librosa.feature.chroma_cqt`, tuned to 440 Hz."""

    def __init__(self, features: Features) -> None:
        import librosa  # takes seconds, and only this kind of frames needs it

        self.features, self.librosa = features, librosa
        self.hop_length, sample_rate_hz = features.hop_length, features.sample_rate_hz
        self.n_frames = max(1, int(SEGMENT_S * sample_rate_hz / self.hop_length))
        longest_samples = sample_rate_hz / features.fmin_hz / (2 ** (1 / features.bins_per_octave) - 1)
        self.n_context_frames = int(np.ceil(longest_samples / self.hop_length)) + 1
        """Frames of sound before and after a segment, for the longest filter and for those that halve the rate."""

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins] of blocks of sound."""
        context = np.zeros(self.n_context_frames * self.hop_length, np.float32)
        pending, stride = context, self.n_frames * self.hop_length
        for block in blocks:
            pending = np.concatenate([pending, block])
            while len(pending) >= stride + 2 * len(context):
                yield self._frames(pending[: stride + 2 * len(context)], self.n_frames)
                pending = pending[stride:]
        n_samples = len(pending) - len(context)
        yield self._frames(np.concatenate([pending, context]), 1 + n_samples // self.hop_length)

    def _frames(self, sound: Samples, n_frames: int) -> Frames:
        """The frames of a segment amid the sound around it."""
        frames = self._transform(sound).T[self.n_context_frames : self.n_context_frames + n_frames]
        return np.ascontiguousarray(frames, dtype=np.float32)

    def _transform(self, sound: Samples) -> Frames:
        """Values [n_bins, n_frames] of a sound."""
        features = self.features
        shared: dict[str, Any] = {
            "sr": features.sample_rate_hz,
            "hop_length": features.hop_length,
            "fmin": features.fmin_hz,
            "bins_per_octave": features.bins_per_octave,
        }
        if features.kind == "cqt_chroma":
            shared |= {"n_chroma": features.n_bins, "n_octaves": CHROMA_OCTAVES, "tuning": 0.0}
            return np.asarray(self.librosa.feature.chroma_cqt(y=sound, **shared))
        spectrum = self.librosa.cqt(sound, n_bins=features.n_bins, **shared)
        return np.asarray(self.librosa.amplitude_to_db(np.abs(spectrum), ref=1.0, top_db=None))
