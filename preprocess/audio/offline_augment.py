"""Offline copies of a clip's sound: shifted in pitch, stretched in time, with noise added."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import xxhash

from preprocess.frames.framing import Samples
from recipe import Features

OfflineAugmentation = Callable[[Iterable[Samples]], Iterator[Samples]]
"""Sound that can be iterated over again → blocks of its variant."""

SEGMENT_S = 5.0
"""A phase vocoder works on whole sounds: what is longer than two segments is cut into them, to bound memory."""
MIN_SEGMENT_SAMPLES = 2048
"""Its window: what is shorter is filled up with zeros, and cut again."""
FADE_S = 0.05
"""Cross-fade between segments."""


def offline_augmentations(clip: str, features: Features) -> list[OfflineAugmentation]:
    """How to make variants 1, 2, … of a clip, in the order of the recipe's keys. Noise is seeded by the clip's name."""
    sample_rate_hz = features.sample_rate_hz
    augmentations: list[OfflineAugmentation] = [
        partial(shift_pitch, semitones=steps, sample_rate_hz=sample_rate_hz) for steps in features.pitch_shifts
    ]
    augmentations += [
        partial(stretch_time, rate=rate, sample_rate_hz=sample_rate_hz) for rate in features.time_stretches
    ]
    return augmentations + [
        partial(add_noise, snr_db=snr_db, generator=np.random.default_rng([number, *clip_seed(clip)]))
        for number, snr_db in enumerate(features.noise_snrs_db)
    ]


def clip_seed(clip: str) -> tuple[int, ...]:
    """Numbers that belong to a clip's name."""
    return tuple(xxhash.xxh3_128_digest(clip.encode("utf-8", "surrogateescape")))


def shift_pitch(sound: Iterable[Samples], semitones: float, sample_rate_hz: int) -> Iterator[Samples]:
    """`librosa.effects.pitch_shift`."""
    from librosa.effects import pitch_shift  # seconds that only copies need

    return _map_segments(
        sound, lambda segment: pitch_shift(segment, sr=sample_rate_hz, n_steps=semitones), 1.0, sample_rate_hz
    )


def stretch_time(sound: Iterable[Samples], rate: float, sample_rate_hz: int) -> Iterator[Samples]:
    """`librosa.effects.time_stretch`; a rate of 2 halves the length."""
    from librosa.effects import time_stretch

    return _map_segments(sound, lambda segment: time_stretch(segment, rate=rate), rate, sample_rate_hz)


def add_noise(sound: Iterable[Samples], snr_db: float, generator: np.random.Generator) -> Iterator[Samples]:
    """White Gaussian noise, `snr_db` below the mean power of the whole sound."""
    energy, n_samples = 0.0, 0
    for block in sound:
        energy += float(np.dot(block, block))
        n_samples += len(block)
    level = np.float32(np.sqrt(energy / max(1, n_samples) / 10 ** (snr_db / 10)))
    for block in sound:
        yield block + level * generator.standard_normal(len(block), dtype=np.float32)


def _map_segments(
    sound: Iterable[Samples], transform: Callable[[Samples], Samples], rate: float, sample_rate_hz: int
) -> Iterator[Samples]:
    """Change segments of SEGMENT_S that overlap, and cross-fade; sound of one segment is changed whole."""
    n_samples, n_shared = int(SEGMENT_S * sample_rate_hz), round(FADE_S * sample_rate_hz)
    n_fade = round(n_shared / rate)
    rise = np.linspace(0, 1, n_fade, dtype=np.float32)
    tail = np.zeros(0, np.float32)
    for segment, last in _segments(sound, n_samples, n_shared):
        padded = np.pad(segment, (0, max(0, MIN_SEGMENT_SAMPLES - len(segment))))
        transformed = transform(padded)[: max(1, round(len(segment) / rate))]
        if len(tail):
            transformed[:n_fade] = transformed[:n_fade] * rise + tail * (1 - rise)
        n_whole = len(transformed) if last else len(transformed) - n_fade
        yield transformed[:n_whole]
        tail = transformed[n_whole:]


def _segments(sound: Iterable[Samples], n_samples: int, n_shared: int) -> Iterator[tuple[Samples, bool]]:
    """Segments that share their ends, and whether each is the last; the last is the longest, up to twice the others."""
    pending = np.zeros(0, np.float32)
    for block in sound:
        pending = np.concatenate([pending, block])
        while len(pending) >= 2 * n_samples:
            yield pending[:n_samples], False
            pending = pending[n_samples - n_shared :]
    yield pending, True
