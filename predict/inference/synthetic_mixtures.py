"""Mixtures of clips of several labels, to tune on where every clip has one label and one window."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.errors import UserError
from preprocess.dataset.labels import join_labels, split_labels
from recipe import Recipe
from train.augment.gain_noise import db_to_power, power_to_db
from train.augment.mixing import level_gain, mean_power

DURATION_RANGE_S = (5.0, 20.0)
"""Shortest and longest mixture: as the test excerpts of IRMAS."""
MIN_ACTIVE_S = 3.0
"""The least that is left of an intermittent voice."""
SILENCE_DB = -200.0
"""Below what 16 bits can hold."""


def make_mixture(
    clips: pd.DataFrame, frames_of: Callable[[str], Tensor], recipe: Recipe, frames_per_second: float, seed: list[int]
) -> tuple[str, Tensor]:
    """The labels of a mixture of some of `clips`, joined, and its frames float32 [n_frames, n_bins].

    It has one to `training.power_mix_clips` voices, each number equally likely; a voice is clips of the same labels in
    random order, one after another. With `training.power_mix_levels` equal all are brought to the level of one clip of
    the first voice. The first sounds throughout; the others are quieter by up to `training.power_mix_db`, and
    `tuning.intermittent_probability` of them come and go. Raises UserError for frames that cannot be added.
    """
    if recipe.features.kind == "cqt_chroma":
        raise UserError("--mixtures: features.kind = cqt_chroma has lost the levels of sounds, which cannot be mixed")
    random, training = np.random.default_rng(seed), recipe.training
    by_labels = {str(labels): list(group) for labels, group in clips.groupby("labels")["clip"]}
    n_tracks = int(random.integers(1, min(training.power_mix_clips, len(by_labels)) + 1))
    n_frames = round(random.uniform(*DURATION_RANGE_S) * frames_per_second)
    label_sets = list(by_labels)
    chosen = [label_sets[index] for index in random.permutation(len(label_sets))[:n_tracks]]
    gains_db = [0.0, *random.uniform(-training.power_mix_db, 0, n_tracks - 1)]
    decibels = recipe.features.kind != "waveform"
    if training.power_mix_levels == "equal":
        reference = frames_of(str(random.choice(by_labels[chosen[0]])))
        frames_of = partial(_read_at_level, frames_of, reference, decibels)
    tracks = [_make_track(by_labels[labels], frames_of, n_frames, random) for labels in chosen]
    min_frames = min(round(MIN_ACTIVE_S * frames_per_second), n_frames)
    silence = SILENCE_DB if decibels else 0.0
    for track in tracks[1:]:
        if random.uniform() < recipe.tuning.intermittent_probability:
            _make_intermittent(track, min_frames, silence, random)
    mixed = _sum_tracks(tracks, gains_db, decibels)
    if recipe.features.top_db is not None:
        mixed = mixed.clamp(min=float(mixed.max()) - recipe.features.top_db)
    return join_labels(sorted({label for labels in chosen for label in split_labels(labels)})), mixed


def _read_at_level(frames_of: Callable[[str], Tensor], reference: Tensor, decibels: bool, clip: str) -> Tensor:
    """A clip's frames, brought to the mean power of the frames of `reference`."""
    frames = frames_of(clip)
    gain = level_gain(*(mean_power(each[None], decibels)[0] for each in (reference, frames)))
    return frames + power_to_db(gain) if decibels else frames * gain.sqrt()


def _make_track(
    clips: list[str], frames_of: Callable[[str], Tensor], n_frames: int, random: np.random.Generator
) -> Tensor:
    """`n_frames` of some clips in random order, again from the first where they are too few."""
    order = [clips[index] for index in random.permutation(len(clips))]
    parts: list[Tensor] = []
    while sum(map(len, parts)) < n_frames:
        parts.append(frames_of(order[len(parts) % len(order)]))
    return torch.cat(parts)[:n_frames]


def _make_intermittent(track: Tensor, min_frames: int, silence: float, random: np.random.Generator) -> None:
    """Silence, in place, all but a span of at least `min_frames` frames."""
    n_active = int(random.integers(min_frames, len(track) + 1))
    first = int(random.integers(0, len(track) - n_active + 1))
    track[:first] = silence
    track[first + n_active :] = silence


def _sum_tracks(tracks: list[Tensor], gains_db: list[float], decibels: bool) -> Tensor:
    """Sounds at their gains, added as powers, or as samples."""
    pairs = zip(tracks, gains_db, strict=True)
    if decibels:
        return power_to_db(torch.stack([db_to_power(track + gain_db) for track, gain_db in pairs]).sum(0))
    return torch.stack([10 ** (gain_db / 20) * track for track, gain_db in pairs]).sum(0)
