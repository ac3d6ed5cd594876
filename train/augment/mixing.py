"""Mixtures of clips of a batch: mixup, power mixing of several, cross-fade in time; and their labels.

Every function takes x [batch, n_frames, n_bins], y [batch, n_labels] and a generator on x's device, and mixes each clip
of the batch with others of it. `decibels` says that x holds decibels, which are added as powers; otherwise x holds
samples, which are added as they are.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.augment.gain_noise import db_to_power, draw_uniform, power_to_db

LabelMixing = Literal["union", "proportional"]
MixPartners = list[tuple[Tensor, Tensor]]
"""Weights of other clips in each mixture, and which of the batch they are [batch]."""


def mixup(
    x: Tensor, y: Tensor, generator: Generator, *, alpha: float, max_share: float, label_mixing: LabelMixing
) -> tuple[Tensor, Tensor]:
    """Interpolate each clip with another, whose share is `max_share` times a Beta(alpha, alpha) draw (1: uniform).

    Values are interpolated as they are, decibels too. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    (partner,) = _draw_partners(x, 1, generator)
    concentration = torch.full((len(x), 2), alpha, dtype=x.dtype, device=x.device)
    # What torch.distributions.Beta draws from; Beta itself takes no generator.
    share = max_share * torch._sample_dirichlet(concentration, generator=generator)[:, 0]
    mixed = torch.lerp(x, x.index_select(0, partner), share[:, None, None])
    return mixed, mix_labels(y, 1 - share, [(share, partner)], label_mixing)


def power_mix(
    x: Tensor,
    y: Tensor,
    generator: Generator,
    *,
    max_clips: int,
    range_db: float,
    label_mixing: LabelMixing,
    decibels: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sound each clip together with 1 to `max_clips` - 1 others, quieter by up to `range_db` (uniform in decibels).

    By the rule `proportional` a label's weight is its clip's share of the gains of power.
    """
    n_most = min(max_clips, len(x)) - 1
    n_others = 1 + draw_uniform(0, n_most, x, generator).flatten().long().clamp(max=n_most - 1)
    own_weight = torch.ones(len(x), device=x.device)
    others = [
        (db_to_power(draw_uniform(-range_db, 0, x, generator)).flatten() * (n_others > k), partner)
        for k, partner in enumerate(_draw_partners(x, n_most, generator))
    ]
    total = own_weight + sum(gain for gain, _ in others)
    shares = [(gain / total, partner) for gain, partner in others]
    mixed = mix_weighted(
        x, own_weight[:, None, None], [(gain[:, None, None], partner) for gain, partner in others], decibels
    )
    return mixed, mix_labels(y, own_weight / total, shares, label_mixing)


def crossfade(
    x: Tensor, y: Tensor, generator: Generator, *, max_share: float, label_mixing: LabelMixing, decibels: bool = True
) -> tuple[Tensor, Tensor]:
    """Fade each clip into another: the power of one falls along a sigmoid in time while the other's rises.

    The fade's middle lies uniformly in the middle half of the crop. From 12 to 88 % it takes a share of the crop drawn
    uniformly up to `max_share`. After the mixer of the winner of FSDKaggle2019 (argus-freesound).
    """
    (partner,) = _draw_partners(x, 1, generator)
    n_frames = x.shape[1]
    middle = draw_uniform(0.25, 0.75, x, generator)
    width = draw_uniform(0, max_share, x, generator).clamp(min=1 / n_frames)
    time = (torch.arange(n_frames, device=x.device)[:, None] + 0.5) / n_frames
    rising = torch.sigmoid((time - middle) * (4 / width))
    share = rising.mean((1, 2))
    mixed = mix_weighted(x, 1 - rising, [(rising, partner)], decibels)
    return mixed, mix_labels(y, 1 - share, [(share, partner)], label_mixing)


def mix_weighted(x: Tensor, own_weight: Tensor, others: MixPartners, decibels: bool) -> Tensor:
    """Each clip under the weights `own_weight` and others of x under theirs, added as powers, or as samples.

    Weights are of power and broadcast to x; a sample's is the root of it.
    """
    linear = db_to_power(x) if decibels else x
    total = linear * (own_weight if decibels else own_weight.sqrt())
    for weights, clips in others:
        # A quarter of the time of indexing with brackets.
        total.addcmul_(linear.index_select(0, clips), weights if decibels else weights.sqrt())
    return power_to_db(total) if decibels else total


def mix_labels(y: Tensor, own_weight: Tensor, others: MixPartners, label_mixing: LabelMixing) -> Tensor:
    """Labels of mixtures, from shares [batch]: all whose share is above 0 (union), or in proportion (proportional)."""
    parts = [(own_weight, y), *((share, y[clips]) for share, clips in others)]
    if label_mixing == "proportional":
        return torch.stack([share[:, None] * labels for share, labels in parts]).sum(0)
    return torch.stack([(share > 0)[:, None] * labels for share, labels in parts]).amax(0)


def _draw_partners(x: Tensor, number: int, generator: Generator) -> list[Tensor]:
    """`number` partners for each clip of the batch, different from it and each other: neighbours in a random ring."""
    permutation = torch.rand(len(x), generator=generator, device=x.device).argsort()
    rank = permutation.argsort()
    return [permutation[(rank + k) % len(x)] for k in range(1, number + 1)]
