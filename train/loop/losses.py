"""Losses of a batch of logits, with smoothed, bootstrapped and weighted targets."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recipe import Training


def batch_loss(logits: Tensor, y: Tensor, noisy: Tensor, training: Training) -> Tensor:
    """Mean loss of a batch's clips on their device, noisy ones weighted: logits, y [B, n_labels], noisy bool [B]."""
    targets = y / y.sum(1, keepdim=True).clamp(min=1e-6) if training.loss == "cross_entropy" else y
    targets = smooth_labels(targets, training.label_smoothing, training.loss)
    if training.bootstrap_beta < 1:
        targets = torch.where(noisy[:, None], bootstrap(logits, targets, training), targets)
    losses = clip_losses(logits, targets, training.loss, training.focal_gamma)
    return (losses * torch.where(noisy, training.noisy_weight, 1.0)).mean()


def clip_losses(logits: Tensor, targets: Tensor, loss: str, focal_gamma: float = 2.0) -> Tensor:
    """Loss of each clip [B]: the mean over its labels for bce and focal, the sum for cross_entropy.

    Focal loss: Lin et al., "Focal loss for dense object detection", 2017, without its class weights.
    """
    if loss == "cross_entropy":
        return -(targets * logits.log_softmax(1)).sum(1)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if loss == "focal":
        probabilities = logits.sigmoid()
        error = targets * (1 - probabilities) + (1 - targets) * probabilities
        losses = losses * error.clamp(min=1e-6) ** focal_gamma  # at 0 a gamma below 1 has an infinite slope
    return losses.mean(1)


def smooth_labels(targets: Tensor, share: float, loss: str) -> Tensor:
    """Targets of which `share` is spread evenly: over all labels, or for each label over present and absent."""
    n_outcomes = targets.shape[1] if loss == "cross_entropy" else 2
    return targets * (1 - share) + share / n_outcomes


def bootstrap(logits: Tensor, targets: Tensor, training: Training) -> Tensor:
    """Targets mixed with the network's own predictions, without a gradient.

    Reed et al., "Training deep neural networks on noisy labels with bootstrapping", 2014 (soft).
    """
    predictions = (logits.softmax(1) if training.loss == "cross_entropy" else logits.sigmoid()).detach()
    return training.bootstrap_beta * targets + (1 - training.bootstrap_beta) * predictions


def validation_loss(scores: Tensor, truth: Tensor, loss: str) -> float:
    """Cross-entropy of clips' probabilities [n_clips, n_labels], over all labels or binary for each."""
    scores = scores.clamp(1e-7, 1 - 1e-7)
    if loss == "cross_entropy":
        return float(-(truth * scores.log()).sum(1).mean())
    return float(F.binary_cross_entropy(scores, truth))
