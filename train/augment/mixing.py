"""Mixtures of clips of a batch: mixup, power mixing of several, cross-fade, frequency splice; and their labels.

Every function mixes each clip of x [batch, n_frames, n_bins] with others of it. `decibels` says that x holds decibels,
which add as powers; otherwise x holds samples.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.augment.gain_noise import db_to_power, draw_uniform, power_to_db

LabelMixing = Literal["union", "proportional"]
MixingLevels = Literal["recorded", "equal"]
MAX_GAIN = 1e4
"""Of power, by which a quiet clip is made louder at most: 40 dB, so that silence is not made noise."""


def mixup(x: Tensor, y: Tensor, generator: Generator, *, alpha: float, max_share: float) -> tuple[Tensor, Tensor]:
    """Interpolate each clip with another, whose share is `max_share` times a Beta(alpha, alpha) draw (1: uniform).

    Values are interpolated as they are, decibels too, and so are labels: Zhang et al., "mixup: Beyond Empirical Risk
    Minimization", 2018.
    """
    (partner,) = _draw_partners(x, 1, generator)
    concentration = torch.full((len(x), 2), alpha, dtype=x.dtype, device=x.device)
    # What torch.distributions.Beta draws from; Beta itself takes no generator.
    share = max_share * torch._sample_dirichlet(concentration, generator=generator)[:, 0]
    mixed = torch.lerp(x, x.index_select(0, partner), share[:, None, None])
    return mixed, torch.lerp(y, y.index_select(0, partner), share[:, None])


def power_mix(
    x: Tensor,
    y: Tensor,
    generator: Generator,
    *,
    max_clips: int,
    range_db: float,
    levels: MixingLevels,
    label_mixing: LabelMixing,
    decibels: bool,
) -> tuple[Tensor, Tensor]:
    """Add to each clip 1 to `max_clips` - 1 others, quieter by up to `range_db` (uniform in decibels).

    With `levels` equal the others are first brought to the mean power of the clip they are added to; with recorded they
    are not. A clip's share, for `proportional` labels, is of the gains of power after that.
    """
    n_most = min(max_clips, len(x)) - 1
    n_others = 1 + draw_uniform(0, n_most, x, generator).long().clamp(max=n_most - 1)
    partners = _draw_partners(x, n_most, generator)
    gains = [db_to_power(draw_uniform(-range_db, 0, x, generator)) * (n_others > k) for k in range(n_most)]
    weights = [torch.ones((len(x), 1, 1), device=x.device), *gains]
    shares = (torch.stack(weights) / (weights[0] + sum(gains))).flatten(1)
    if levels == "equal":
        power = mean_power(x, decibels)
        weights[1:] = [
            gain * level_gain(power, power.index_select(0, partner))
            for gain, partner in zip(gains, partners, strict=True)
        ]
    return mix_weighted(x, weights, partners, decibels), mix_labels(y, shares, partners, label_mixing)


def crossfade(
    x: Tensor, y: Tensor, generator: Generator, *, max_share: float, label_mixing: LabelMixing, decibels: bool
) -> tuple[Tensor, Tensor]:
    """Fade each clip into another: the power of one falls along a sigmoid in time while the other's rises.

    The fade's middle lies uniformly in the middle half of the crop; from 12 to 88 % it takes a share of the crop drawn
    uniformly up to `max_share`. After the winner of FSDKaggle2019 (argus-freesound).
    """
    (partner,) = _draw_partners(x, 1, generator)
    n_frames = x.shape[1]
    middle = draw_uniform(0.25, 0.75, x, generator)
    width = draw_uniform(0, max_share, x, generator).clamp(min=1 / n_frames)
    time = (torch.arange(n_frames, device=x.device)[:, None] + 0.5) / n_frames
    rising = torch.sigmoid((time - middle) * (4 / width))
    share = rising.mean((1, 2))
    mixed = mix_weighted(x, [1 - rising, rising], [partner], decibels)
    return mixed, mix_labels(y, torch.stack([1 - share, share]), [partner], label_mixing)


def splice_bands(x: Tensor, y: Tensor, generator: Generator, *, max_share: float) -> tuple[Tensor, Tensor]:
    """Replace a band of each clip by another clip's, a share of the bins drawn uniformly up to `max_share`.

    Labels are mixed in proportion to the bins: CutMix (Yun et al. 2019) along frequency alone.
    """
    (partner,) = _draw_partners(x, 1, generator)
    n_bins = x.shape[2]
    width = (draw_uniform(0, 1, x, generator) * int(max_share * n_bins)).ceil()
    start = (draw_uniform(0, 1, x, generator) * (n_bins - width + 1)).floor()
    bins = torch.arange(n_bins, device=x.device)
    inside = ((bins >= start) & (bins < start + width)).float()
    spliced = torch.lerp(x, x.index_select(0, partner), inside)
    return spliced, torch.lerp(y, y.index_select(0, partner), (width / n_bins)[:, :, 0])


def mean_power(x: Tensor, decibels: bool) -> Tensor:
    """[batch, 1, 1]: each clip's mean power over frames and bins, above 0."""
    return (db_to_power(x) if decibels else x.square()).mean((1, 2), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


def level_gain(power: Tensor, own_power: Tensor) -> Tensor:
    """The gain of power that brings sounds of `own_power` to `power`, of at most MAX_GAIN."""
    return (power / own_power).clamp(max=MAX_GAIN)


def mix_weighted(x: Tensor, weights: list[Tensor], partners: list[Tensor], decibels: bool) -> Tensor:
    """Sums of each clip and its partners. Weights, the clip's own first, are of power, so samples take their roots."""
    linear = db_to_power(x) if decibels else x
    own_gain, *gains = weights if decibels else [weight.sqrt() for weight in weights]
    total = linear * own_gain
    for gain, partner in zip(gains, partners, strict=True):
        total.addcmul_(linear.index_select(0, partner), gain)
    return power_to_db(total) if decibels else total


def mix_labels(y: Tensor, shares: Tensor, partners: list[Tensor], label_mixing: LabelMixing) -> Tensor:
    """Labels of mixtures from shares [1 + n_partners, batch]: all of a share above 0 (union), or each by its share."""
    labels = torch.stack([y, *(y[partner] for partner in partners)])
    if label_mixing == "proportional":
        return (shares[:, :, None] * labels).sum(0)
    return ((shares > 0)[:, :, None] * labels).amax(0)


def _draw_partners(x: Tensor, number: int, generator: Generator) -> list[Tensor]:
    """`number` partners for each clip of the batch, different from it and each other: neighbours in a random ring."""
    permutation = torch.rand(len(x), generator=generator, device=x.device).argsort()
    rank = permutation.argsort()
    return [permutation[(rank + k) % len(x)] for k in range(1, number + 1)]
