"""Log-mel on a GPU: the same definition as `preprocess.frames.logmel.LogMel`, by batched torch.stft in float64."""

from collections.abc import Iterable, Iterator

import torch

from preprocess.frames.filterbank import mel_filterbank
from preprocess.frames.framing import MIN_POWER, Frames, Samples, iter_sample_batches
from recipe import Features

BATCH_VALUES = 1 << 23
"""Samples of the windows transformed at once: 64 MB of float64."""


class GpuLogMel:
    """Log-mel by torch. float64 resolves bands far below their frame's mean, and decoding takes longer all the same."""

    def __init__(self, features: Features, device: str) -> None:
        self.features, self.device = features, torch.device(device)
        self.window = torch.hann_window(features.n_fft, dtype=torch.float64, device=self.device)
        filters = mel_filterbank(features)
        self.filters = torch.from_numpy(filters).to(self.device, torch.float64)

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features = self.features
        n_windows = max(1, BATCH_VALUES // features.n_fft)
        for samples in iter_sample_batches(blocks, features.n_fft, features.hop_length, features.center, n_windows):
            yield self._frames(torch.from_numpy(samples.copy()).to(self.device))

    def _frames(self, sound: torch.Tensor) -> Frames:
        """The frames of the windows that lie within some sound."""
        spectra = torch.stft(
            sound.double(),
            self.features.n_fft,
            self.features.hop_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        mel = self.filters @ spectra.abs().square()
        frames: Frames = (10 * mel.clamp(min=MIN_POWER).log10()).T.contiguous().float().cpu().numpy()
        return frames
