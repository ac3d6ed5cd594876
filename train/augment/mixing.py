"""Mixtures of clips of a batch: mixup, power mixing of several, cross-fade in time; and their labels.

Every function takes x [batch, n_frames, n_bins], y [batch, n_labels] and a generator on x's device, and mixes each clip
of the batch with others of it. `decibels` says that x holds decibels, which are added as powers; otherwise x holds
samples, which are added as they are.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.augment.gain_noise import draw_between, to_decibels, to_power

LabelRule = Literal["united", "weighted"]
Others = list[tuple[Tensor, Tensor]]
"""Weights of other clips in each mixture, and which of the batch they are [batch]."""


def mixup(
    x: Tensor, y: Tensor, generator: Generator, *, alpha: float, max_share: float, label_rule: LabelRule
) -> tuple[Tensor, Tensor]:
    """Interpolate each clip with another, whose share is `max_share` times a Beta(alpha, alpha) draw (1: uniform).

    Values are interpolated as they are, decibels too. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.
    """
    (partner,) = _draw_partners(x, 1, generator)
    concentration = torch.full((len(x), 2), alpha, dtype=x.dtype, device=x.device)
    # What torch.distributions.Beta draws from; Beta itself takes no generator.
    share = max_share * torch._sample_dirichlet(concentration, generator=generator)[:, 0]
    mixed = torch.lerp(x, x.index_select(0, partner), share[:, None, None])
    return mixed, mix_labels(y, 1 - share, [(share, partner)], label_rule)


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

    By the rule `weighted` a label's weight is its clip's share of the gains of power.
    """
    n_most = min(max_clips, len(x)) - 1
    n_others = 1 + draw_between(0, n_most, x, generator).flatten().long().clamp(max=n_most - 1)
    own = torch.ones(len(x), device=x.device)
    others = [
        (to_power(draw_between(-range_db, 0, x, generator)).flatten() * (n_others > k), partner)
        for k, partner in enumerate(_draw_partners(x, n_most, generator))
    ]
    total = own + sum(gain for gain, _ in others)
    shares = [(gain / total, partner) for gain, partner in others]
    mixed = add_sounds(x, own[:, None, None], [(gain[:, None, None], partner) for gain, partner in others], decibels)
    return mixed, mix_labels(y, own / total, shares, label_rule)


def crossfade(
    x: Tensor, y: Tensor, generator: Generator, *, max_share: float, label_rule: LabelRule, decibels: bool = True
) -> tuple[Tensor, Tensor]:
    """Fade each clip into another: the power of one falls along a sigmoid in time while the other's rises.

    The fade's middle lies uniformly in the middle half of the crop. From 12 to 88 % it takes a share of the crop drawn
    uniformly up to `max_share`. After the mixer of the winner of FSDKaggle2019 (argus-freesound).
    """
    (partner,) = _draw_partners(x, 1, generator)
    n_frames = x.shape[1]
    middle = draw_between(0.25, 0.75, x, generator)
    width = draw_between(0, max_share, x, generator).clamp(min=1 / n_frames)
    time = (torch.arange(n_frames, device=x.device)[:, None] + 0.5) / n_frames
    rising = torch.sigmoid((time - middle) * (4 / width))
    share = rising.mean((1, 2))
    mixed = add_sounds(x, 1 - rising, [(rising, partner)], decibels)
    return mixed, mix_labels(y, 1 - share, [(share, partner)], label_rule)


def add_sounds(x: Tensor, own: Tensor, others: Others, decibels: bool) -> Tensor:
    """Each clip under the weights `own` and others of x under theirs, added as powers, or as samples.

    Weights are of power and broadcast to x; a sample's is the root of it.
    """
    linear = to_power(x) if decibels else x
    total = linear * (own if decibels else own.sqrt())
    for weights, clips in others:
        # A quarter of the time of indexing with brackets.
        total.addcmul_(linear.index_select(0, clips), weights if decibels else weights.sqrt())
    return to_decibels(total) if decibels else total


def mix_labels(y: Tensor, own: Tensor, others: Others, label_rule: LabelRule) -> Tensor:
    """Labels of mixtures, from shares [batch]: all whose share is above 0 (united), or in proportion (weighted)."""
    parts = [(own, y), *((share, y[clips]) for share, clips in others)]
    if label_rule == "weighted":
        return torch.stack([share[:, None] * labels for share, labels in parts]).sum(0)
    return torch.stack([(share > 0)[:, None] * labels for share, labels in parts]).amax(0)


def _draw_partners(x: Tensor, number: int, generator: Generator) -> list[Tensor]:
    """`number` partners for each clip of the batch, different from it and each other: neighbours in a random ring."""
    ring = torch.rand(len(x), generator=generator, device=x.device).argsort()
    place = ring.argsort()
    return [ring[(place + k) % len(x)] for k in range(1, number + 1)]
