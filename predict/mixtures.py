"""Made-up pieces: clips of several labels sound together, to tune on where every clip has one label and one window."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from errors import BadInput
from preprocess.labels import join_labels, split_labels
from recipe import Recipe
from train.levels import to_decibels, to_power

SECONDS = (5.0, 20.0)
"""Shortest and longest piece: as the test excerpts of IRMAS."""


def mix(
    clips: pd.DataFrame, frames_of: Callable[[str], Tensor], recipe: Recipe, frames_per_second: float, seed: list[int]
) -> tuple[str, Tensor]:
    """The labels of a piece mixed from some of `clips`, joined, and its frames float32 [n_frames, n_bins].

    One to `training.power_mix_clips` voices, as many being equally likely, sound from beginning to end, the others
    quieter than the first by up to `training.power_mix_db`; a voice is clips of the same labels in random order, one
    after another. Raises BadInput for frames that cannot be added.
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


def _add(voices: list[Tensor], gains_db: list[float], decibels: bool) -> Tensor:
    """Sounds at their gains, added as powers, or as samples."""
    if not decibels:
        louder = [10 ** (gain_db / 20) * voice for voice, gain_db in zip(voices, gains_db, strict=True)]
        return torch.stack(louder).sum(0)
    powers = [to_power(voice + gain_db) for voice, gain_db in zip(voices, gains_db, strict=True)]
    return to_decibels(torch.stack(powers).sum(0))
