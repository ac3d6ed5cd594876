"""Saliency maps: which places of a spectrogram raise the score of a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from predict.inference.run_loader import TrainedRun
from train.evaluate.windows import slice_windows, window_and_hop_frames, window_starts
from train.networks.cnn import MeanOverFrequency
from train.networks.factory import AudioNetwork

POOLING_LAYERS = (MeanOverFrequency, nn.Flatten, nn.AdaptiveAvgPool2d)
"""The layers of trunks behind their last map."""
BATCH_WINDOWS = 32
MAX_COLUMNS = 80
"""Of a clip's map."""


@dataclass(frozen=True)
class SaliencyMapper:
    """A run's networks; training clips are mapped by those that were not trained on their fold."""

    run: TrainedRun
    folds: Mapping[str, int] = field(default_factory=dict)
    """Of the training clips, by name; any other clip is mapped by all networks."""

    def __post_init__(self) -> None:
        for network in self.run.networks:
            network.requires_grad_(False)  # only gradients of activations are needed

    def saliency(self, clip: str, frames: Tensor, labels: Sequence[str]) -> np.ndarray:
        """Maps [n_labels, n_rows, n_columns] from 0 to 1 over a clip's frames [n_frames, n_bins], low bins first."""
        networks = self.run.folds.get(self.folds.get(clip, -1), self.run.networks)
        window, _ = window_and_hop_frames(self.run.prediction, self.run.frames_per_second)
        columns = [self.run.labels.index(label) for label in labels]
        found = torch.stack([clip_saliency(network, frames, columns, window) for network in networks]).mean(0).relu()
        return (found / found.amax().clamp(min=1e-9)).numpy()


def clip_saliency(network: AudioNetwork, frames: Tensor, labels: Sequence[int], window: int) -> Tensor:
    """What places of a clip add to labels' logits, by windows end to end: [n_labels, n_rows, at most MAX_COLUMNS]."""
    starts = window_starts(len(frames), window, window)
    parts = [
        hires_cam(network, slice_windows(frames, some, window, network.short_clip_padding, network.kind), labels)
        for some in np.split(starts, range(BATCH_WINDOWS, len(starts), BATCH_WINDOWS))
    ]
    by_window = torch.cat(parts, 1)
    n_rows, n_frames = by_window.shape[2], len(frames)
    by_frame = functional.interpolate(by_window, (n_rows, window), mode="bilinear")
    summed, times = torch.zeros(len(labels), n_rows, max(n_frames, window)), torch.zeros(max(n_frames, window))
    for number, start in enumerate(starts.tolist()):
        summed[..., start : start + window] += by_frame[:, number]
        times[start : start + window] += 1
    mean = (summed / times)[..., :n_frames]
    return functional.adaptive_avg_pool2d(mean, (n_rows, min(MAX_COLUMNS, n_frames)))


def hires_cam(network: AudioNetwork, x: Tensor, labels: Sequence[int]) -> Tensor:
    """What each place of the trunk's last map adds to labels' logits [n_labels, B, n_rows, n_columns].

    HiResCAM: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", 2020. With mean pooling and one linear layer these are class activation maps: Zhou et al., "Learning deep
    features for discriminative localization", 2016.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, activations: Tensor) -> Tensor:
        kept.append(activations.detach().requires_grad_())
        return kept[0]

    layer = next(each for each in reversed(network.trunk) if not isinstance(each, POOLING_LAYERS))
    hook = layer.register_forward_hook(keep)
    try:
        logits = network(x)
    finally:
        hook.remove()
    gradients = [torch.autograd.grad(logits[:, label].sum(), kept, retain_graph=True)[0] for label in labels]
    added = torch.stack([(gradient * kept[0].detach()).sum(1) for gradient in gradients])
    return added if added.ndim == 4 else added[:, :, None]
