"""Made-up pieces: whose sound is in them, how loud, and how long they are."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from predict.inference.synthetic_mixtures import DURATION_RANGE_S, MIN_ACTIVE_S, make_mixture
from preprocess.dataset.labels import split_labels
from recipe import Features, Recipe, Training, Tuning

LABELS = ["low", "mid", "high", "low;high"]
CLIPS = pd.DataFrame({"clip": [f"{index}" for index in range(8)], "labels": LABELS * 2})
N_FRAMES = 30


def frames_of(clip: str) -> torch.Tensor:
    """0 dB in the clip's own bin, -200 dB elsewhere; the last frame, in bin 8, is marked."""
    frames = torch.full((N_FRAMES, 9), -200.0)
    frames[:, int(clip)] = 0.0
    frames[-1, 8] = 0.0
    return frames


def level_of(level: float, clip: str) -> torch.Tensor:
    return torch.full((9, 1), level)


def mixtures(
    number: int = 60, intermittent_probability: float = 0.0, **features: Any
) -> list[tuple[str, torch.Tensor]]:
    training = Training(power_mix_clips=3, power_mix_db=6.0)
    recipe = Recipe(
        features=Features(**features),
        training=training,
        tuning=Tuning(intermittent_probability=intermittent_probability),
    )
    return [make_mixture(CLIPS, frames_of, recipe, 20.0, [0, seed]) for seed in range(number)]


def test_the_labels_are_those_of_the_clips_that_sound() -> None:
    counts = set()
    for labels, frames in mixtures():
        active = [clip for clip in range(8) if (frames[:, clip] > -100).any()]
        assert set(split_labels(labels)) == {one for clip in active for one in split_labels(LABELS[clip % 4])}
        tracks = {clip % 4 for clip in active}
        counts.add(len(tracks))
        for clip in active:
            level = frames[frames[:, clip] > -100, clip]
            assert -6.001 <= level.min() <= level.max() <= 0.001
        assert any(frames[0, clip] == pytest.approx(0, abs=1e-4) for clip in active)
    assert counts == {1, 2, 3}


def test_a_track_never_stops_and_runs_through_its_clips() -> None:
    for _, frames in mixtures(10):
        assert DURATION_RANGE_S[0] * 20 <= len(frames) <= DURATION_RANGE_S[1] * 20
        by_track = torch.stack([frames[:, [track, track + 4]].amax(1) for track in range(4)], dim=1)
        assert (by_track.amax(1) > -7).all()
        assert ((frames[:, 8] > -7).nonzero().flatten() % N_FRAMES == N_FRAMES - 1).all()
        first, second = frames[:N_FRAMES, :8].argmax(1).unique(), frames[N_FRAMES : 2 * N_FRAMES, :8].argmax(1).unique()
        assert first.tolist() != second.tolist()


def test_all_tracks_but_the_first_may_be_intermittent() -> None:
    fractions = []
    for _, frames in mixtures(intermittent_probability=1.0):
        by_track = torch.stack([frames[:, [track, track + 4]].amax(1) for track in range(4)], dim=1) > -100
        durations = sorted((int(track.sum()) for track in by_track.T if track.any()), reverse=True)
        assert durations[0] == len(frames)
        assert all(each >= MIN_ACTIVE_S * 20 for each in durations)
        for track in by_track.T:
            assert int(track.diff().sum()) <= 2, "it comes and goes once"
        fractions += [each / len(frames) for each in durations[1:]]
    assert min(fractions) < 0.5 < max(fractions)


def test_sounds_add_as_power_or_as_samples() -> None:
    same = pd.DataFrame({"clip": ["0", "1"], "labels": ["a", "b"]})
    training = Training(power_mix_clips=2, power_mix_db=0.0)
    for features, level, both in (
        (Features(), -20.0, -20.0 + 10 * np.log10(2)),
        (Features(kind="waveform", n_bins=1, storage="int16"), 0.2, 0.4),
    ):
        levels = set()
        for seed in range(8):
            recipe = Recipe(features=features, training=training, tuning=Tuning(intermittent_probability=0.0))
            labels, frames = make_mixture(same, partial(level_of, level), recipe, 5.0, [seed])
            expected = both if ";" in labels else level
            assert torch.allclose(frames, torch.full_like(frames, expected), atol=1e-4)
            levels.add(expected)
        assert len(levels) == 2


def quieter_frames_of(clip: str) -> torch.Tensor:
    """As `frames_of`, each clip 5 dB quieter than the one before."""
    return frames_of(clip).clamp(min=-300) - 5.0 * int(clip)


def test_levels_are_as_recorded_or_equal() -> None:
    recorded, equal = set[int](), []
    for levels in ("recorded", "equal"):
        training = Training(power_mix_clips=3, power_mix_db=6.0, power_mix_levels=levels)
        recipe = Recipe(training=training, tuning=Tuning(intermittent_probability=0.0))
        for seed in range(40):
            _, frames = make_mixture(CLIPS, quieter_frames_of, recipe, 20.0, [0, seed])
            loudest = frames[:, :8].amax(0)
            levels_db = loudest[loudest > -100]
            if levels == "recorded":
                recorded.add(round(float(levels_db.max() - levels_db.min())))
            else:
                equal.append(float(levels_db.max() - levels_db.min()))
    assert max(recorded) > 20, "clips of other levels"
    assert max(equal) <= 6.001, "power_mix_db and nothing else"


def test_a_mixture_s_quietest_is_as_far_below_its_loudest_as_the_features_say() -> None:
    for _, frames in mixtures(5, top_db=80.0):
        assert float(frames.min()) == pytest.approx(float(frames.max()) - 80, abs=1e-3)


def test_chroma_cannot_be_mixed() -> None:
    with pytest.raises(UserError, match=r"cqt_chroma.*levels"):
        mixtures(1, kind="cqt_chroma", n_bins=12, fmin_hz=32.7)
