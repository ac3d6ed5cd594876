"""Made-up pieces: clips of several labels sound together, to tune on where every clip has one label and one window."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.errors import BadInput
from preprocess.dataset.labels import join_labels, split_labels
from recipe import Recipe
from train.augment.gain_noise import to_decibels, to_power

SECONDS = (5.0, 20.0)
"""Shortest and longest piece: as the test excerpts of IRMAS."""
SHORTEST_S = 3.0
"""A voice that comes and goes sounds at least so long."""
SILENCE_DB = -200.0
"""Below what 16 bits can hold."""


def mix(
    clips: pd.DataFrame, frames_of: Callable[[str], Tensor], recipe: Recipe, frames_per_second: float, seed: list[int]
) -> tuple[str, Tensor]:
    """The labels of a piece mixed from some of `clips`, joined, and its frames float32 [n_frames, n_bins].

    One to `training.power_mix_clips` voices, as many being equally likely; a voice is clips of the same labels in
    random order, one after another. The first sounds from beginning to end; the others are quieter by up to
    `training.power_mix_db`, and `tuning.entries` of them come and go. Raises BadInput for frames that cannot be added.
    """
    if recipe.features.kind == "cqt_chroma":
        raise BadInput("--mixtures: features.kind = cqt_chroma has lost the levels of sounds, which cannot be mixed")
    random, training = np.random.default_rng(seed), recipe.training
    by_labels = {str(labels): list(group) for labels, group in clips.groupby("labels")["clip"]}
    n_voices = int(random.integers(1, min(training.power_mix_clips, len(by_labels)) + 1))
    n_frames = round(random.uniform(*SECONDS) * frames_per_second)
    every = list(by_labels)
    chosen = [every[index] for index in random.permutation(len(every))[:n_voices]]
    gains_db = [0.0, *random.uniform(-training.power_mix_db, 0, n_voices - 1)]
    voices = [_voice(by_labels[labels], frames_of, n_frames, random) for labels in chosen]
    least, silence = min(round(SHORTEST_S * frames_per_second), n_frames), _silence(recipe)
    for voice in voices[1:]:
        if random.uniform() < recipe.tuning.entries:
            _come_and_go(voice, least, silence, random)
    mixed = _add(voices, gains_db, recipe.features.kind != "waveform")
    if recipe.features.top_db is not None:
        mixed = mixed.clamp(min=float(mixed.max()) - recipe.features.top_db)
    return join_labels(sorted({label for labels in chosen for label in split_labels(labels)})), mixed


def _voice(clips: list[str], frames_of: Callable[[str], Tensor], n_frames: int, random: np.random.Generator) -> Tensor:
    """`n_frames` of some clips in random order, again from the first where they are too few."""
    order = [clips[index] for index in random.permutation(len(clips))]
    parts: list[Tensor] = []
    while sum(map(len, parts)) < n_frames:
        parts.append(frames_of(order[len(parts) % len(order)]))
    return torch.cat(parts)[:n_frames]


def _come_and_go(voice: Tensor, least: int, silence: float, random: np.random.Generator) -> None:
    """Silence, in place, all but a span of at least `least` frames."""
    n_sounding = int(random.integers(least, len(voice) + 1))
    first = int(random.integers(0, len(voice) - n_sounding + 1))
    voice[:first] = silence
    voice[first + n_sounding :] = silence


def _silence(recipe: Recipe) -> float:
    """The value of a frame without sound."""
    return 0.0 if recipe.features.kind == "waveform" else SILENCE_DB


def _add(voices: list[Tensor], gains_db: list[float], decibels: bool) -> Tensor:
    """Sounds at their gains, added as powers, or as samples."""
    if not decibels:
        louder = [10 ** (gain_db / 20) * voice for voice, gain_db in zip(voices, gains_db, strict=True)]
        return torch.stack(louder).sum(0)
    powers = [to_power(voice + gain_db) for voice, gain_db in zip(voices, gains_db, strict=True)]
    return to_decibels(torch.stack(powers).sum(0))
