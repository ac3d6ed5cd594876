"""Mixtures of clips of a batch: mixup, power mixing of several, cross-fade in time; and their labels.

Every function takes x [batch, n_frames, n_bins], y [batch, n_labels] and a generator on x's device, and mixes each clip
of the batch with others of it. `decibels` says that x holds decibels, which are added as powers; otherwise x holds
samples, which are added as they are.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.levels import draw_between, to_decibels, to_power

LabelRule = Literal["united", "weighted"]
Part = tuple[Tensor, Tensor]
"""Weights of a part of each mixture, and which clips of the batch it is made of [batch]."""


def mixup(
    x: Tensor, y: Tensor, generator: Generator, *, alpha: float, max_share: float, label_rule: LabelRule
) -> tuple[Tensor, Tensor]:
    """Interpolate each clip with another, whose share is `max_share` times a Beta(alpha, alpha) draw (1: uniform).

    Values are interpolated as they are, decibels too. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    (partner,) = _draw_partners(x, 1, generator)
    concentration = torch.full((len(x), 2), alpha, device=x.device)
    # The public Beta distribution takes no generator before torch 2.13; this is what it draws from.
    share = max_share * torch._sample_dirichlet(concentration, generator=generator)[:, 0]
    mixed = torch.lerp(x, x[partner], share[:, None, None])
    return mixed, mix_labels(y, [(1 - share, torch.arange(len(x), device=x.device)), (share, partner)], label_rule)


def power_mix(
    x: Tensor,
    y: Tensor,
    generator: Generator,
    *,
    max_clips: int,
    range_db: float,
    label_rule: LabelRule,
    decibels: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sound each clip together with 1 to `max_clips` - 1 others, quieter by up to `range_db` (uniform in decibels).

    A label's weight under the rule `weighted` is its clip's share of the power gains.
    """
    n_others = min(max_clips, len(x)) - 1
    own = torch.arange(len(x), device=x.device)
    parts = [(torch.ones(len(x), device=x.device), own)]
    n_drawn = 1 + (draw_between(0, n_others, x, generator).flatten()).long().clamp(max=n_others - 1)
    for k, partner in enumerate(_draw_partners(x, n_others, generator)):
        gain = to_power(draw_between(-range_db, 0, x, generator)).flatten()
        parts.append((gain * (k < n_drawn), partner))
    total = torch.stack([weights for weights, _ in parts]).sum(0)
    shares = [(weights / total, clips) for weights, clips in parts]
    return add_sounds(x, [(w[:, None, None], clips) for w, clips in parts], decibels), mix_labels(y, shares, label_rule)


def crossfade(
    x: Tensor, y: Tensor, generator: Generator, *, max_share: float, label_rule: LabelRule, decibels: bool = True
) -> tuple[Tensor, Tensor]:
    """Fade each clip into another: the power of one falls along a sigmoid in time while the other's rises.

    The fade's middle lies uniformly in the middle half of the crop. From 12 to 88 % it takes a share of the crop drawn
    uniformly up to `max_share`. After the mixer of the winner of FSDKaggle2019 (argus-freesound).
    """
    (partner,) = _draw_partners(x, 1, generator)
    own = torch.arange(len(x), device=x.device)
    n_frames = x.shape[1]
    middle = draw_between(0.25, 0.75, x, generator)
    width = draw_between(0.0, max_share, x, generator).clamp(min=1 / n_frames)
    time = (torch.arange(n_frames, device=x.device)[None, :, None] + 0.5) / n_frames
    rising = torch.sigmoid((time - middle) * (4 / width))
    share = rising.mean((1, 2))
    mixed = add_sounds(x, [(1 - rising, own), (rising, partner)], decibels)
    return mixed, mix_labels(y, [(1 - share, own), (share, partner)], label_rule)


def add_sounds(x: Tensor, parts: list[Part], decibels: bool) -> Tensor:
    """Sum of clips of x under weights of power, each broadcast to x: as powers, or as samples (amplitudes)."""
    linear = to_power(x) if decibels else x
    total = torch.zeros_like(x)
    for weights, clips in parts:
        total.addcmul_(linear[clips], weights if decibels else weights.sqrt())
    return to_decibels(total) if decibels else total


def mix_labels(y: Tensor, parts: list[Part], label_rule: LabelRule) -> Tensor:
    """Labels of mixtures: of all parts with a share above 0 (united), or the sum of shares [batch] (weighted)."""
    shared = [(share[:, None], y[clips]) for share, clips in parts]
    if label_rule == "weighted":
        return torch.stack([share * labels for share, labels in shared]).sum(0)
    return torch.stack([(share > 0) * labels for share, labels in shared]).amax(0)


def _draw_partners(x: Tensor, n_others: int, generator: Generator) -> list[Tensor]:
    """`n_others` partners for each clip of the batch, different from it and each other: neighbours in a random ring."""
    ring = torch.rand(len(x), generator=generator, device=x.device).argsort()
    place = ring.argsort()
    return [ring[(place + k) % len(x)] for k in range(1, n_others + 1)]
