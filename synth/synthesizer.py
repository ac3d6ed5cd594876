"""How rendered notes sound: a General MIDI soundfont, then a room, a microphone, noise and a level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve, lfilter
from tinysoundfont import Synth

from core.errors import UserError
from synth.melodies import Note

SAMPLE_RATE_HZ = 22_050
CONTROL_SAMPLES = 441
"""Samples between two settings of vibrato and swell: 20 ms."""
BEND_SEMITONES = 2.0
LEVEL_DB = (-32.0, -14.0)
PEAK = 0.97
NOISE_FROM_HZ = 20.0
"""Coloured noise is flat below."""


@dataclass(frozen=True)
class Performer:
    """How one musician plays throughout a piece."""

    program: int
    tuning_semitones: float
    vibrato_semitones: float
    vibrato_hz: float
    swell_hz: float
    """How often a slow crescendo comes and goes."""
    swell_depth: float
    """0 is none; 1 falls to silence."""


@dataclass(frozen=True)
class RecordingConditions:
    """Where a piece was recorded, and how well."""

    response: np.ndarray
    """Impulse response of the room, float64 [n_samples]."""
    tilt: float
    """Gain of what lies below the corner: below 0 thin, above 0 dull."""
    corner_hz: float
    noise_slope: float
    """Power of the noise falls as 1 / f**slope: 0 white, 1 pink, 2 brown."""
    noise_db: float
    """Level of the noise against the music."""
    hum_hz: float
    """Mains hum at a tenth of the noise's level upwards; 0 is none."""


def find_soundfont() -> Path:
    """The General MIDI soundfont inside pretty_midi, found without importing it."""
    package = find_spec("pretty_midi")
    path = Path(package.origin).with_name("TimGM6mb.sf2") if package and package.origin else None
    if path is None or not path.exists():
        raise UserError("pretty_midi's soundfont TimGM6mb.sf2 is not installed: run pip install -r requirements.txt")
    return path


def draw_performer(program: int, vibrato_semitones: float, generator: np.random.Generator) -> Performer:
    """A musician of `program` with vibrato up to a depth, slightly out of tune."""
    return Performer(
        program,
        tuning_semitones=generator.normal(0, 0.12),
        vibrato_semitones=vibrato_semitones * generator.uniform(0, 1),
        vibrato_hz=generator.uniform(4, 7),
        swell_hz=generator.uniform(0.1, 0.6),
        swell_depth=generator.uniform(0, 0.6),
    )


def draw_conditions(generator: np.random.Generator) -> RecordingConditions:
    """A room that rings 0.15 to 1.5 s, a microphone, and noise 18 to 50 dB below the music."""
    rt60_s = generator.uniform(0.15, 1.5)
    time_s = np.arange(int(rt60_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = generator.normal(size=len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    damping = generator.uniform(0.2, 0.8)
    tail = lfilter([1 - damping], [1, -damping], tail)
    tail[: int(generator.uniform(0.003, 0.03) * SAMPLE_RATE_HZ)] = 0
    response = generator.uniform(0.05, 0.7) * tail / np.sqrt(np.sum(tail**2))
    response[0] = 1
    return RecordingConditions(
        response,
        tilt=10 ** (generator.uniform(-4, 4) / 20) - 1,
        corner_hz=generator.uniform(300, 1500),
        noise_slope=generator.uniform(0, 2),
        noise_db=generator.uniform(-50, -18),
        hum_hz=float(generator.choice([0, 0, 50, 60])),
    )


def synthesize(performer: Performer, notes: Sequence[Note], length_s: float) -> np.ndarray:
    """The dry sound of a part, float64 [n_samples]. A synthesizer of its own, so that no earlier note is left in it."""
    synth = Synth(samplerate=SAMPLE_RATE_HZ)
    font = synth.sfload(str(find_soundfont()))
    synth.program_select(0, font, 0, performer.program)
    synth.set_tuning(0, performer.tuning_semitones)
    events: list[tuple[int, int, int, int]] = []
    for note in notes:
        events.append((round(note.start_s * SAMPLE_RATE_HZ), 1, note.key, note.velocity))
        events.append((round(note.end_s * SAMPLE_RATE_HZ), 0, note.key, 0))
    n_samples = round(length_s * SAMPLE_RATE_HZ)
    events += [(sample, 2, 0, 0) for sample in range(0, n_samples, CONTROL_SAMPLES)]
    sound, now = bytearray(), 0
    for sample, kind, key, velocity in sorted(events):
        if min(sample, n_samples) > now:
            sound += synth.generate(min(sample, n_samples) - now)
            now = min(sample, n_samples)
        if kind == 0:
            synth.noteoff(0, key)
        elif kind == 1:
            synth.noteon(0, key, velocity)
        else:
            _set_controls(synth, performer, sample / SAMPLE_RATE_HZ)
    sound += synth.generate(n_samples - now)
    return np.frombuffer(sound, dtype=np.float32).reshape(-1, 2).mean(axis=1, dtype=np.float64)


def _set_controls(synth: Synth, performer: Performer, time_s: float) -> None:
    """Set the pitch wheel for vibrato and the expression pedal for the swell."""
    bend = performer.vibrato_semitones * math.sin(2 * math.pi * performer.vibrato_hz * time_s) / BEND_SEMITONES
    swell = 1 - performer.swell_depth * (0.5 - 0.5 * math.cos(2 * math.pi * performer.swell_hz * time_s))
    synth.pitchbend(0, round(8192 + 8191 * bend))
    synth.control_change(0, 11, int(127 * swell))


def mix_recording(
    conditions: RecordingConditions, parts: Sequence[np.ndarray], generator: np.random.Generator
) -> np.ndarray:
    """Parts of equal length played together under the same conditions, float64 [n_samples], between -1 and 1.

    Each part is brought to the same level, then up to 8 dB below it, so that none is drowned by the soundfont's levels.
    """
    gains = 10 ** (generator.uniform(-8, 0, len(parts)) / 20)
    music = np.sum([gain * part / max(_rms(part), 1e-9) for gain, part in zip(gains, parts, strict=True)], axis=0)
    wet = fftconvolve(music, conditions.response)[: len(music)]
    pole = np.exp(-2 * np.pi * conditions.corner_hz / SAMPLE_RATE_HZ)
    sound = wet + conditions.tilt * lfilter([1 - pole], [1, -pole], wet)
    sound = sound + _rms(sound) * 10 ** (conditions.noise_db / 20) * _noise(conditions, len(sound), generator)
    sound *= 10 ** (generator.uniform(*LEVEL_DB) / 20) / max(_rms(sound), 1e-9)
    return sound * min(1.0, PEAK / np.abs(sound).max())


def _noise(conditions: RecordingConditions, n_samples: int, generator: np.random.Generator) -> np.ndarray:
    """Coloured noise with hum, at a level of 1."""
    n_fft = next_fast_len(n_samples, real=True)
    spectrum = rfft(generator.normal(size=n_fft))
    bottom = n_fft * NOISE_FROM_HZ / SAMPLE_RATE_HZ
    spectrum *= np.fmax(np.arange(len(spectrum)), bottom) ** (-conditions.noise_slope / 2)
    noise = irfft(spectrum, n_fft)[:n_samples]
    noise /= _rms(noise)
    if conditions.hum_hz:
        hum = np.sin(
            2 * np.pi * conditions.hum_hz * np.arange(n_samples) / SAMPLE_RATE_HZ + generator.uniform(0, 2 * np.pi)
        )
        noise += generator.uniform(0.1, 1.0) * hum
    return noise


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))
