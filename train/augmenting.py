"""Which augmentations a recipe asks for, each with its chance, in the order in which they happen."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from errors import BadInput
from recipe import Training
from train.levels import add_noise, change_gain
from train.masking import MaskFill, mask_frequency, mask_time, roll_time
from train.mixing import crossfade, mixup, power_mix
from train.resizing import resized_crop, roll_pitch

_NO_BINS, _NO_LEVELS = "whose frames have no bins of frequency", "which has lost the levels of sounds"
_SENSELESS = {
    "waveform": {
        "pitch_roll_probability": _NO_BINS,
        "resized_crop_probability": _NO_BINS,
        "frequency_mask_probability": _NO_BINS,
    },
    "stft": {"pitch_roll_probability": "whose bins are evenly spaced in frequency, not in pitch"},
    "cqt_chroma": {
        "power_mix_probability": _NO_LEVELS,
        "crossfade_probability": _NO_LEVELS,
        "gain_probability": _NO_LEVELS,
        "noise_probability": _NO_LEVELS,
    },
}
"""What cannot be done to the frames of a kind, and why."""

Augmentation = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""Pure: (x [batch, n_frames, n_bins], y [batch, n_labels], generator on their device) to new x and y."""


def one_of(choices: Sequence[tuple[float, Augmentation]]) -> Augmentation:
    """At most one of several for each clip, each with its probability; with the rest of it the clip stays as it is.

    Each is computed for the whole batch, so that nothing waits for the device to say which clips were chosen.
    """

    def augment(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        uniform = torch.rand(len(x), generator=generator, device=x.device)
        new_x, new_y, low = x, y, 0.0
        for probability, augmentation in choices:
            chosen = ((uniform >= low) & (uniform < low + probability)).float()
            its_x, its_y = augmentation(x, y, generator)
            # lerp by 0 or 1 is exact, and on a CPU takes a quarter of the time of where.
            new_x = torch.lerp(new_x, its_x, chosen[:, None, None])
            new_y = torch.lerp(new_y, its_y, chosen[:, None])
            low += probability
        return new_x, new_y

    return augment


def build_augmentations(training: Training, kind: str) -> list[Augmentation]:
    """The augmentations of a recipe for features of a kind: each clip's own, then mixing, then what hides the mixture.

    Raises BadInput naming the keys for what makes no sense: pitch of a waveform, probabilities above 1 together.
    """
    _check(training, kind)
    decibels = kind != "waveform"
    t = training
    # A waveform's silence and mean are 0.
    silence: MaskFill = "floor" if decibels else "zero"
    fill: MaskFill = t.mask_fill if decibels else "zero"
    steps: list[list[tuple[float, Augmentation]]] = [
        [(t.pitch_roll_probability, partial(roll_pitch, max_bins=t.pitch_roll_bins, circular=kind == "cqt_chroma"))],
        [(t.resized_crop_probability, partial(resized_crop, min_scale=t.resized_crop_scale))],
        [(t.time_roll_probability, roll_time)],
        [(t.silence_probability, partial(mask_time, max_masks=1, max_share=t.silence_share, fill=silence))],
        [(t.gain_probability, partial(change_gain, range_db=t.gain_db, decibels=decibels))],
        _mixers(t, decibels),
        [(t.noise_probability, partial(add_noise, snr_db=t.noise_snr_db, decibels=decibels))],
        [(t.time_mask_probability, partial(mask_time, max_masks=t.masks, max_share=t.time_mask_share, fill=fill))],
        [
            (
                t.frequency_mask_probability,
                partial(mask_frequency, max_masks=t.masks, max_share=t.frequency_mask_share, fill=fill),
            )
        ],
    ]
    wanted = ([choice for choice in step if choice[0] > 0] for step in steps)
    return [one_of(step) for step in wanted if step]


def _mixers(t: Training, decibels: bool) -> list[tuple[float, Augmentation]]:
    rule = t.label_rule
    return [
        (t.mixup_probability, partial(mixup, alpha=t.mixup_alpha, max_share=t.mixup_max_share, label_rule=rule)),
        (
            t.power_mix_probability,
            partial(
                power_mix, max_clips=t.power_mix_clips, range_db=t.power_mix_db, label_rule=rule, decibels=decibels
            ),
        ),
        (
            t.crossfade_probability,
            partial(crossfade, max_share=t.crossfade_share, label_rule=rule, decibels=decibels),
        ),
    ]


def _check(training: Training, kind: str) -> None:
    """Refuse what a key's own bounds cannot: combinations of keys, and of keys with the features' kind."""
    mixing = ("mixup_probability", "power_mix_probability", "crossfade_probability")
    if (total := sum(getattr(training, key) for key in mixing)) > 1 + 1e-9:
        keys = " + ".join(f"training.{key}" for key in mixing)
        raise BadInput(f"{keys} = {total:g}: a clip is mixed in one way at most, so they must not exceed 1 together")
    low, high = training.noise_snr_db
    if low > high:
        raise BadInput(f"training.noise_snr_db = [{low:g}, {high:g}]: the lower ratio comes first")
    for key, reason in _SENSELESS.get(kind, {}).items():
        if getattr(training, key) > 0:
            raise BadInput(f"training.{key} makes no sense for features.kind = {kind}, {reason}: set it to 0")
