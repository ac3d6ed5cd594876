"""Which augmentations a recipe asks for, each with its chance, in the order in which they happen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from core.errors import UserError
from recipe import Training
from train.augment.gain_noise import add_noise, random_gain
from train.augment.masking import MaskFill, mask_frequency, mask_time, roll_time
from train.augment.mixing import crossfade, mixup, power_mix
from train.augment.warp import resized_crop, roll_pitch

Augmentation = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""Pure: (x [batch, n_frames, n_bins], y [batch, n_labels], generator on their device) to new x and y."""

AUGMENTATION_ORDER = (
    ("pitch_roll",),
    ("resized_crop",),
    ("time_roll",),
    ("silence",),
    ("gain",),
    ("mixup", "power_mix", "crossfade"),
    ("noise",),
    ("time_mask",),
    ("frequency_mask",),
)
"""In this order, with `training.<name>_probability`: each clip's own, one way of mixing, what hides the mixture."""

_NO_BINS = "whose frames have no bins of frequency"
_NO_LOUDNESS = "which has lost the levels of sounds"
UNSUPPORTED = {
    "waveform": {"pitch_roll": _NO_BINS, "resized_crop": _NO_BINS, "frequency_mask": _NO_BINS},
    "stft": {"pitch_roll": "whose bins are evenly spaced in frequency, not in pitch"},
    "cqt_chroma": dict.fromkeys(("power_mix", "crossfade", "gain", "noise"), _NO_LOUDNESS),
}
"""What cannot be done to the frames of a kind, and why."""


def build_augmentations(training: Training, kind: str) -> list[Augmentation]:
    """What a recipe asks for, for features of a kind. Raises UserError as check_augmentations does."""
    check_augmentations(training, kind)
    configured = _bind_parameters(training, kind)
    steps = ([(_probability(training, name), configured[name]) for name in step] for step in AUGMENTATION_ORDER)
    wanted = ([choice for choice in step if choice[0] > 0] for step in steps)
    return [random_choice(step) for step in wanted if step]


def check_augmentations(training: Training, kind: str) -> None:
    """Raise UserError naming the key of an augmentation that cannot be done to frames of this kind."""
    for name, reason in UNSUPPORTED.get(kind, {}).items():
        if _probability(training, name) > 0:
            raise UserError(f"training.{name}_probability: no sense for features.kind = {kind}, {reason}; set it to 0")


def random_choice(choices: Sequence[tuple[float, Augmentation]]) -> Augmentation:
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


def _probability(training: Training, name: str) -> float:
    return float(getattr(training, f"{name}_probability"))


def _bind_parameters(t: Training, kind: str) -> dict[str, Augmentation]:
    """Every augmentation by its name, with the recipe's values."""
    decibels = kind != "waveform"
    # A waveform's silence and its mean are 0.
    silence: MaskFill = "floor" if decibels else "zero"
    fill: MaskFill = t.mask_fill if decibels else "zero"
    mixing: dict[str, Any] = {"label_mixing": t.label_mixing, "decibels": decibels}
    return {
        "pitch_roll": partial(roll_pitch, max_bins=t.pitch_roll_bins, circular=kind == "cqt_chroma"),
        "resized_crop": partial(resized_crop, min_scale=t.resized_crop_scale),
        "time_roll": roll_time,
        "silence": partial(mask_time, max_masks=1, max_share=t.silence_share, fill=silence),
        "gain": partial(random_gain, range_db=t.gain_db, decibels=decibels),
        "mixup": partial(mixup, alpha=t.mixup_alpha, max_share=t.mixup_max_share, label_mixing=t.label_mixing),
        "power_mix": partial(power_mix, max_clips=t.power_mix_clips, range_db=t.power_mix_db, **mixing),
        "crossfade": partial(crossfade, max_share=t.crossfade_share, **mixing),
        "noise": partial(add_noise, snr_db=t.noise_snr_db, decibels=decibels),
        "time_mask": partial(mask_time, max_masks=t.max_masks, max_share=t.time_mask_share, fill=fill),
        "frequency_mask": partial(mask_frequency, max_masks=t.max_masks, max_share=t.frequency_mask_share, fill=fill),
    }
