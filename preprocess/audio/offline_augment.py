"""Offline copies of a clip's sound: shifted in pitch, stretched in time, with noise, reverberation or echoes."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import xxhash

from preprocess.frames.framing import Samples
from recipe import Features

OfflineAugmentation = Callable[[Iterable[Samples]], Iterator[Samples]]
"""Sound that can be iterated over again → blocks of its variant."""

SEGMENT_S = 5.0
"""Sound longer than two segments is changed in segments: a phase vocoder needs all of a sound in memory."""
MIN_SEGMENT_SAMPLES = 2048
"""Window of the phase vocoder: shorter sound is padded with zeros, and cut again."""
FADE_S = 0.05
"""Cross-fade between segments."""
N_ECHOES = 6
"""Each has half the amplitude of the one before."""


def offline_augmentations(clip: str, features: Features) -> list[OfflineAugmentation]:
    """How to make variants 1, 2, … of a clip, in the order of the recipe's keys. The clip's name seeds the noise
    and the rooms."""
    hz, seed = features.sample_rate_hz, tuple(xxhash.xxh3_128_digest(clip.encode("utf-8", "surrogateescape")))
    return [
        *(partial(shift_pitch, semitones=semitones, sample_rate_hz=hz) for semitones in features.pitch_shifts),
        *(partial(stretch_time, rate=rate, sample_rate_hz=hz) for rate in features.time_stretches),
        *(
            partial(add_noise, snr_db=snr_db, generator=np.random.default_rng([number, *seed]))
            for number, snr_db in enumerate(features.noise_snrs_db)
        ),
        *(
            partial(convolve, response=room_response(rt60_s, hz, np.random.default_rng([number, 1, *seed])))
            for number, rt60_s in enumerate(features.reverberation_times_s)
        ),
        *(partial(convolve, response=echo_response(delay_s, hz)) for delay_s in features.echo_delays_s),
    ]


def shift_pitch(sound: Iterable[Samples], semitones: float, sample_rate_hz: int) -> Iterator[Samples]:
    """`librosa.effects.pitch_shift`."""
    from librosa.effects import pitch_shift  # takes seconds, and only copies need it

    shift = partial(pitch_shift, sr=sample_rate_hz, n_steps=semitones)
    return _map_segments(sound, shift, 1.0, sample_rate_hz)


def stretch_time(sound: Iterable[Samples], rate: float, sample_rate_hz: int) -> Iterator[Samples]:
    """`librosa.effects.time_stretch`; a rate of 2 halves the length."""
    from librosa.effects import time_stretch

    return _map_segments(sound, partial(time_stretch, rate=rate), rate, sample_rate_hz)


def add_noise(sound: Iterable[Samples], snr_db: float, generator: np.random.Generator) -> Iterator[Samples]:
    """White Gaussian noise, `snr_db` below the mean power of the whole sound."""
    energy, n_samples = 0.0, 0
    for block in sound:
        energy += float(np.dot(block, block))
        n_samples += len(block)
    level = np.float32(np.sqrt(energy / max(1, n_samples) / 10 ** (snr_db / 10)))
    for block in sound:
        yield block + level * generator.standard_normal(len(block), dtype=np.float32)


def room_response(rt60_s: float, sample_rate_hz: int, generator: np.random.Generator) -> Samples:
    """The impulse response of a made-up room [n_samples] of energy 1: the direct sound, and as much energy behind it.

    What is behind is Gaussian noise that has lost 60 dB after `rt60_s` (Polack's model).
    """
    n_samples = max(2, round(rt60_s * sample_rate_hz))
    decay = 10.0 ** (-3 * np.arange(n_samples) / n_samples)
    response = generator.standard_normal(n_samples) * decay
    response[0] = np.linalg.norm(response[1:])
    return (response / np.linalg.norm(response)).astype(np.float32)


def echo_response(delay_s: float, sample_rate_hz: int) -> Samples:
    """The impulse response [n_samples] of energy 1 of N_ECHOES behind the direct sound, each `delay_s` later."""
    response = np.zeros(N_ECHOES * max(1, round(delay_s * sample_rate_hz)) + 1, np.float32)
    response[:: len(response) // N_ECHOES] = 0.5 ** np.arange(N_ECHOES + 1)
    return np.asarray(response / np.linalg.norm(response), np.float32)


def convolve(sound: Iterable[Samples], response: Samples) -> Iterator[Samples]:
    """The sound under an impulse response, cut to its own length."""
    from scipy.signal import oaconvolve

    tail = np.zeros(len(response) - 1, np.float32)
    for block in sound:
        convolved = oaconvolve(block, response).astype(np.float32)
        convolved[: len(tail)] += tail
        yield convolved[: len(block)]
        tail = convolved[len(block) :]


def _map_segments(
    sound: Iterable[Samples], transform: Callable[[Samples], Samples], rate: float, sample_rate_hz: int
) -> Iterator[Samples]:
    """Change overlapping segments of SEGMENT_S, and cross-fade; sound of up to two segments is changed whole."""
    n_samples, n_shared = int(SEGMENT_S * sample_rate_hz), round(FADE_S * sample_rate_hz)
    n_fade = round(n_shared / rate)
    rise = np.linspace(0, 1, n_fade, dtype=np.float32)
    tail = np.zeros(0, np.float32)
    for segment, is_last in _segments(sound, n_samples, n_shared):
        padded = np.pad(segment, (0, max(0, MIN_SEGMENT_SAMPLES - len(segment))))
        with warnings.catch_warnings():  # librosa 1.0 warns of arguments that it passes itself, and at times of casts
            warnings.simplefilter("ignore")
            transformed = transform(padded)[: max(1, round(len(segment) / rate))]
        if len(tail):
            transformed[:n_fade] = transformed[:n_fade] * rise + tail * (1 - rise)
        n_whole = len(transformed) if is_last else len(transformed) - n_fade
        yield transformed[:n_whole]
        tail = transformed[n_whole:]


def _segments(sound: Iterable[Samples], n_samples: int, n_shared: int) -> Iterator[tuple[Samples, bool]]:
    """Segments that share their ends, and whether each is the last, which is up to twice as long as the others."""
    pending = np.zeros(0, np.float32)
    for block in sound:
        pending = np.concatenate([pending, block])
        while len(pending) >= 2 * n_samples:
            yield pending[:n_samples], False
            pending = pending[n_samples - n_shared :]
    yield pending, True
