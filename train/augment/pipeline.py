"""The augmentations of a recipe, each with its probability, in order."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from core.errors import UserError
from recipe import Training
from train.augment.gain_noise import add_noise, filter_bands, random_contrast, random_gain
from train.augment.masking import flip_time, mask_spans, roll_time
from train.augment.mixing import crossfade, mixup, power_mix, splice_bands
from train.augment.warp import resized_crop, roll_pitch

Augmentation = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""Pure: (x [batch, n_frames, n_bins], y [batch, n_labels], generator on their device) to new x and y."""

AUGMENTATION_ORDER = (
    ("pitch_roll",),
    ("resized_crop",),
    ("time_roll",),
    ("time_flip",),
    ("silence",),
    ("gain",),
    ("contrast",),
    ("filter_bands",),
    ("mixup", "power_mix", "crossfade"),
    ("frequency_splice",),
    ("noise",),
    ("time_mask",),
    ("frequency_mask",),
)
"""Steps by their `training.<name>_probability`; of the augmentations of one step a clip gets at most one."""

_NO_BINS = "whose frames have no bins of frequency"
_NO_LOUDNESS = "which has lost the levels of sounds"
UNSUPPORTED = {
    "waveform": {
        **dict.fromkeys(("pitch_roll", "resized_crop", "filter_bands", "frequency_splice", "frequency_mask"), _NO_BINS),
        "contrast": "which has no decibels",
    },
    "stft": {"pitch_roll": "whose bins are evenly spaced in frequency, not in pitch"},
    "cqt_chroma": dict.fromkeys(("power_mix", "crossfade", "gain", "contrast", "filter_bands", "noise"), _NO_LOUDNESS),
}
"""What cannot be done to the frames of a kind, and why."""


def build_augmentations(training: Training, kind: str, noise_power: Tensor | None = None) -> dict[str, Augmentation]:
    """The steps of a recipe by their augmentations' names, in order, for features of a kind.

    `noise_power` is what `noise` adds to spectrograms. Raises UserError for an augmentation that they do not allow.
    """
    names = [name for step in AUGMENTATION_ORDER for name in step]
    probabilities = {name: float(getattr(training, f"{name}_probability")) for name in names}
    for name, reason in UNSUPPORTED.get(kind, {}).items():
        if probabilities[name] > 0:
            raise UserError(f"training.{name}_probability: no sense for features.kind = {kind}, {reason}; set it to 0")
    configured = _bind_parameters(training, kind, noise_power)
    return {
        " ".join(step): random_choice([(probabilities[name], configured[name]) for name in step if probabilities[name]])
        for step in AUGMENTATION_ORDER
        if any(probabilities[name] for name in step)
    }


def random_choice(choices: Sequence[tuple[float, Augmentation]]) -> Augmentation:
    """At most one of several for each clip. Each runs on the whole batch, so the host never waits for the device."""

    def augment(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        uniform = torch.rand(len(x), generator=generator, device=x.device)
        new_x, new_y, low = x, y, 0.0
        for probability, augmentation in choices:
            chosen = ((uniform >= low) & (uniform < low + probability)).float()
            its_x, its_y = augmentation(x, y, generator)
            new_x = torch.lerp(new_x, its_x, chosen[:, None, None])  # by 0 or 1: exact, and on a CPU faster than where
            new_y = torch.lerp(new_y, its_y, chosen[:, None])
            low += probability
        return new_x, new_y

    return augment


def _bind_parameters(training: Training, kind: str, noise_power: Tensor | None) -> dict[str, Augmentation]:
    """Every augmentation by its name, with the recipe's values."""
    decibels = kind != "waveform"
    mixing: dict[str, Any] = {"label_mixing": training.label_mixing, "decibels": decibels}
    masking: dict[str, Any] = {"max_masks": training.max_masks, "fill": training.mask_fill if decibels else "zero"}
    silence: dict[str, Any] = {"axis": 1, "max_masks": 1, "fill": "floor" if decibels else "zero"}
    return {
        "pitch_roll": partial(roll_pitch, max_bins=training.pitch_roll_bins, circular=kind == "cqt_chroma"),
        "resized_crop": partial(resized_crop, min_scale=training.resized_crop_scale),
        "time_roll": roll_time,
        "time_flip": partial(flip_time, decibels=decibels),
        "silence": partial(mask_spans, max_share=training.silence_share, **silence),
        "gain": partial(random_gain, max_db=training.gain_db, decibels=decibels),
        "contrast": partial(random_contrast, max_slope=training.contrast_slope),
        "filter_bands": partial(filter_bands, max_bands=training.filter_bands, max_db=training.filter_bands_db),
        "mixup": partial(mixup, alpha=training.mixup_alpha, max_share=training.mixup_max_share),
        "power_mix": partial(
            power_mix,
            max_clips=training.power_mix_clips,
            range_db=training.power_mix_db,
            levels=training.power_mix_levels,
            **mixing,
        ),
        "crossfade": partial(crossfade, max_share=training.crossfade_share, **mixing),
        "frequency_splice": partial(splice_bands, max_share=training.frequency_splice_share),
        "noise": partial(add_noise, snr_db=training.noise_snr_db, noise_power=noise_power),
        "time_mask": partial(mask_spans, axis=1, max_share=training.time_mask_share, **masking),
        "frequency_mask": partial(mask_spans, axis=2, max_share=training.frequency_mask_share, **masking),
    }
