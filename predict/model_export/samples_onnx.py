"""The networks of a run as one ONNX file that takes sound: samples of windows in, probabilities out."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from predict.inference.run_loader import TrainedRun
from predict.model_export.onnx import EnsembleModule, build_ensemble, save_onnx
from preprocess.frames.filterbank import mel_filterbank
from preprocess.frames.framing import MIN_POWER
from preprocess.frames.stft import resize_weights
from preprocess.store.encoding import encoding_for
from preprocess.store.schema import FrameEncoding
from recipe import Features
from train.data.crops import ShortClipPadding
from train.evaluate.windows import window_and_hop_frames

METADATA_KEY = "earmark"
"""Of the ONNX file's metadata: JSON of SampleWindows, `n_samples` and `labels`."""


@dataclass(frozen=True)
class SampleWindows:
    """Which samples of a recording its windows are."""

    sample_rate_hz: int
    padding_samples: tuple[int, int]
    """Zeros before and after the recording; those after samples in frames fill up the last frame."""
    frame_samples: int
    hop_length: int
    """Samples from one frame to the next."""
    window_frames: int
    window_hop_frames: int

    @property
    def n_samples(self) -> int:
        """Of a window, with the context of its outermost frames."""
        return (self.window_frames - 1) * self.hop_length + self.frame_samples


def why_no_samples(features: Features) -> str:
    """Why no ONNX file can take samples and give what `make predict` does, in words; '' where one can."""
    if features.kind in ("cqt", "cqt_chroma"):
        return f"librosa computes features.kind {features.kind}, with filters that are longer than a window"
    if features.frames_per_second:
        return "with features.frames_per_second, the weights of frames depend on where in the recording a window begins"
    return ""


def find_sample_windows(run: TrainedRun) -> SampleWindows:
    """Which samples a run's windows are."""
    features = run.recipe.features
    window_frames, window_hop_frames = window_and_hop_frames(run.prediction, run.frames_per_second)
    n_fft, hop_length = features.n_fft, features.hop_length
    if features.kind == "waveform":
        n_fft = hop_length = features.n_bins
    is_centered = features.center and features.kind != "waveform"
    padding = (n_fft // 2,) * 2 if is_centered else (0, n_fft - 1 if features.kind == "waveform" else 0)
    return SampleWindows(features.sample_rate_hz, padding, n_fft, hop_length, window_frames, window_hop_frames)


class FrameTransform(nn.Module):
    """Samples float32 [n_windows, n_samples] → frames [n_windows, n_frames, n_bins], before top_db and storage.

    As in preprocess.frames, FFTs are in float64: in float32, rounding errors hide bands far below the mean.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.kind, self.n_bins = features.kind, features.n_bins
        self.n_fft, self.hop_length = features.n_fft, features.hop_length
        self.taper = nn.Buffer(torch.from_numpy(np.hanning(features.n_fft + 1)[:-1]))  # periodic
        is_logmel = features.kind == "logmel"
        weights = mel_filterbank(features) if is_logmel else resize_weights(features.n_fft // 2 + 1, features.n_bins)
        self.weights = nn.Buffer(torch.from_numpy(weights.T.copy()))

    def forward(self, samples: Tensor) -> Tensor:
        if self.kind == "waveform":
            return samples.unflatten(1, (-1, self.n_bins))
        windows = samples.double().unfold(1, self.n_fft, self.hop_length) * self.taper
        power = torch.view_as_real(torch.fft.rfft(windows)).square().sum(-1).float()
        if self.kind == "logmel":
            return power_to_db(power @ self.weights)
        return power_to_db(power) @ self.weights


def power_to_db(power: Tensor) -> Tensor:
    """Power → dB."""
    return power.clamp(min=MIN_POWER).log() * (10 / np.log(10))


class SampleModule(nn.Module):
    """Samples [n_windows, n_samples] → probabilities [n_windows, n_labels], as `make predict` computes them.

    `n_frames` int64 [n_windows] says how many of a window's frames are the recording's: the others are filled as in
    training. With features.top_db, all windows share the floor below the loudest of them.
    """

    def __init__(self, ensemble: EnsembleModule, features: Features, padding: ShortClipPadding) -> None:
        super().__init__()
        self.transform, self.ensemble, self.padding = FrameTransform(features), ensemble, padding
        self.top_db, self.kind, self.encoding = features.top_db, features.kind, encoding_for(features)

    def forward(self, samples: Tensor, n_frames: Tensor) -> Tensor:
        frames = self.transform(samples)
        positions, lengths = torch.arange(frames.shape[1])[None], n_frames[:, None]
        source = positions.minimum(lengths - 1) if self.padding == "pad" else positions % lengths
        frames = frames.gather(1, source[:, :, None].expand(-1, -1, frames.shape[2]))
        if self.top_db is not None:
            frames = frames.maximum(frames.max() - self.top_db)
        frames = round_as_stored(frames, self.encoding)
        if self.padding == "pad":
            silence = torch.zeros(1) if self.kind == "waveform" else frames.amin((1, 2), keepdim=True)
            frames = torch.where((positions < lengths)[:, :, None], frames, silence)
        scores: Tensor = self.ensemble(frames)
        return scores


def round_as_stored(frames: Tensor, encoding: FrameEncoding) -> Tensor:
    """Frames with the rounding of the store, which prediction of files has too."""
    if encoding.dtype == np.float16:
        return frames.clamp(-65504.0, 65504.0).half().float()
    limits = np.iinfo(encoding.dtype)
    steps = ((frames - encoding.offset) / encoding.scale).round().clamp(limits.min, limits.max)
    return steps * encoding.scale + encoding.offset


def write_samples_onnx(path: Path, run: TrainedRun) -> None:
    """Write a run's networks behind the computation of their frames, for which `why_no_samples` must be ''."""
    windows, features = find_sample_windows(run), run.recipe.features
    module = SampleModule(build_ensemble(run), features, run.recipe.training.short_clip_padding).eval()
    inputs = {
        "samples": torch.zeros(2, windows.n_samples),
        "n_frames": torch.full((2,), windows.window_frames),
    }
    about = asdict(windows) | {"n_samples": windows.n_samples, "labels": run.labels}
    save_onnx(path, module, inputs, {METADATA_KEY: json.dumps(about)})
