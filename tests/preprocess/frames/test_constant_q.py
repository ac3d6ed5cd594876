"""Constant-Q frames and chroma against librosa's, and segments against the whole."""

import librosa
import numpy as np
import pytest

from preprocess.frames import build_transform, compute_frames, constant_q
from preprocess.frames.framing import Samples
from recipe import Features

CQT = Features(kind="cqt", sample_rate_hz=22_050, hop_length=512, n_bins=60, fmin_hz=65.4)
CHROMA = Features(kind="cqt_chroma", sample_rate_hz=22_050, hop_length=512, n_bins=12, bins_per_octave=36, fmin_hz=32.7)


def chord(seconds: float) -> Samples:
    time = np.arange(int(seconds * 22_050)) / 22_050
    swell = 0.5 + 0.4 * np.sin(2 * np.pi * 0.7 * time)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(time))
    tones = [0.2 * swell * np.sin(2 * np.pi * hz * time) for hz in (110, 261.6, 392)]
    return np.sum([*tones, noise], axis=0, dtype=np.float32)


ENDS = 20
"""Frames at each end that hang on how librosa cuts the sound it resamples; ours see silence beyond it."""


def test_cqt_is_librosas_but_for_the_ends() -> None:
    sound = chord(4)
    theirs = np.abs(librosa.cqt(sound, sr=22_050, hop_length=512, fmin=65.4, n_bins=60)).T
    ours = 10 ** (compute_frames(sound, CQT) / 20)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours[ENDS:-ENDS], theirs[ENDS:-ENDS], atol=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_chroma_is_librosas_but_for_the_ends() -> None:
    sound = chord(4)
    theirs = librosa.feature.chroma_cqt(y=sound, sr=22_050, hop_length=512, fmin=32.7, bins_per_octave=36, tuning=0.0).T
    ours = compute_frames(sound, CHROMA)
    assert ours.shape == theirs.shape == (173, 12)
    np.testing.assert_allclose(ours[2 * ENDS : -2 * ENDS], theirs[2 * ENDS : -2 * ENDS], atol=1e-3)
    np.testing.assert_allclose(ours, theirs, atol=0.02)


@pytest.mark.parametrize("features", [CQT, CHROMA], ids=["cqt", "chroma"])
def test_segments_are_as_the_whole(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = chord(7)
    whole = compute_frames(sound, features)
    monkeypatch.setattr(constant_q, "SEGMENT_S", 2.0)
    segments = list(build_transform(features)([sound[:30_000], sound[30_000:30_001], sound[30_001:]]))
    assert len(segments) > 2
    np.testing.assert_allclose(10 ** (np.concatenate(segments) / 20), 10 ** (whole / 20), atol=1e-5)
