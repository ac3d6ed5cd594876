"""Turns notes into audio: a General MIDI soundfont, then a room, a microphone, noise and a level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.random import Generator
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
"""Below, coloured noise is flat."""
NOTE_OFF, NOTE_ON, CONTROLS = range(3)
"""Events of one sample, in this order."""


@dataclass(frozen=True)
class Performer:
    """A musician's playing throughout a piece; the swell is a slow periodic crescendo, of a depth from 0 to 1."""

    program: int
    tuning_semitones: float
    vibrato_semitones: float
    vibrato_hz: float
    swell_hz: float
    swell_depth: float


@dataclass(frozen=True)
class RecordingConditions:
    """The room, the microphone and the noise of a recording."""

    response: np.ndarray
    """Impulse response of the room, float64 [n_samples]."""
    tilt: float
    """Gain of frequencies below the corner: below 0 thin, above 0 dull."""
    corner_hz: float
    noise_slope: float
    """Exponent in the noise's power 1 / f**slope: 0 white, 1 pink, 2 brown."""
    noise_db: float
    """Level of the noise against the music."""
    hum_hz: float
    """Mains hum; 0 is none."""


def find_soundfont() -> Path:
    """The General MIDI soundfont inside pretty_midi, found without importing it."""
    package = find_spec("pretty_midi")
    path = Path(package.origin).with_name("TimGM6mb.sf2") if package and package.origin else None
    if path is None or not path.exists():
        raise UserError("pretty_midi's soundfont TimGM6mb.sf2 is not installed: run pip install -r requirements.txt")
    return path


def draw_performer(program: int, vibrato_semitones: float, generator: Generator) -> Performer:
    """A musician of `program` with vibrato up to a depth, slightly out of tune."""
    return Performer(
        program,
        tuning_semitones=generator.normal(0, 0.12),
        vibrato_semitones=vibrato_semitones * generator.uniform(0, 1),
        vibrato_hz=generator.uniform(4, 7),
        swell_hz=generator.uniform(0.1, 0.6),
        swell_depth=generator.uniform(0, 0.6),
    )


def draw_conditions(generator: Generator) -> RecordingConditions:
    """A room with a reverberation time of 0.15 to 1.5 s, a microphone, and noise 18 to 50 dB below the music."""
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
    """The dry audio of a part, float64 [n_samples], from a new synthesizer without the tails of earlier notes."""
    synth = Synth(samplerate=SAMPLE_RATE_HZ)
    synth.program_select(0, synth.sfload(str(find_soundfont())), 0, performer.program)
    synth.set_tuning(0, performer.tuning_semitones)
    n_samples = round(length_s * SAMPLE_RATE_HZ)
    events = [(round(note.start_s * SAMPLE_RATE_HZ), NOTE_ON, note.key, note.velocity) for note in notes]
    events += [(round(note.end_s * SAMPLE_RATE_HZ), NOTE_OFF, note.key, 0) for note in notes]
    events += [(sample, CONTROLS, 0, 0) for sample in range(0, n_samples, CONTROL_SAMPLES)]
    audio, now = bytearray(), 0
    for sample, kind, key, velocity in sorted(events):
        if min(sample, n_samples) > now:
            audio += synth.generate(min(sample, n_samples) - now)
            now = min(sample, n_samples)
        if kind == NOTE_OFF:
            synth.noteoff(0, key)
        elif kind == NOTE_ON:
            synth.noteon(0, key, velocity)
        else:
            _set_controls(synth, performer, sample / SAMPLE_RATE_HZ)
    audio += synth.generate(n_samples - now)
    return np.frombuffer(audio, dtype=np.float32).reshape(-1, 2).mean(axis=1, dtype=np.float64)


def _set_controls(synth: Synth, performer: Performer, time_s: float) -> None:
    """Set the pitch wheel for vibrato and the expression pedal for the swell."""
    bend = performer.vibrato_semitones * math.sin(2 * math.pi * performer.vibrato_hz * time_s) / BEND_SEMITONES
    swell = 1 - performer.swell_depth * (0.5 - 0.5 * math.cos(2 * math.pi * performer.swell_hz * time_s))
    synth.pitchbend(0, round(8192 + 8191 * bend))
    synth.control_change(0, 11, int(127 * swell))


def mix_recording(conditions: RecordingConditions, parts: Sequence[np.ndarray], generator: Generator) -> np.ndarray:
    """Parts of equal length mixed under the same conditions, float64 [n_samples], between -1 and 1.

    The parts' levels differ by at most 8 dB, whatever the soundfont's, so that each is audible.
    """
    gains = 10 ** (generator.uniform(-8, 0, len(parts)) / 20)
    music = np.sum([gain * part / max(_rms(part), 1e-9) for gain, part in zip(gains, parts, strict=True)], axis=0)
    wet = fftconvolve(music, conditions.response)[: len(music)]
    pole = np.exp(-2 * np.pi * conditions.corner_hz / SAMPLE_RATE_HZ)
    audio = wet + conditions.tilt * lfilter([1 - pole], [1, -pole], wet)
    audio = audio + _rms(audio) * 10 ** (conditions.noise_db / 20) * _noise(conditions, len(audio), generator)
    audio *= 10 ** (generator.uniform(*LEVEL_DB) / 20) / max(_rms(audio), 1e-9)
    return audio * min(1.0, PEAK / np.abs(audio).max())


def _noise(conditions: RecordingConditions, n_samples: int, generator: Generator) -> np.ndarray:
    """Coloured noise of level 1, and hum of 0.1 to 1 of its level."""
    n_fft = next_fast_len(n_samples, real=True)
    spectrum = rfft(generator.normal(size=n_fft))
    bottom = n_fft * NOISE_FROM_HZ / SAMPLE_RATE_HZ
    spectrum *= np.fmax(np.arange(len(spectrum)), bottom) ** (-conditions.noise_slope / 2)
    noise = irfft(spectrum, n_fft)[:n_samples]
    noise /= _rms(noise)
    if conditions.hum_hz:
        phase = 2 * np.pi * conditions.hum_hz * np.arange(n_samples) / SAMPLE_RATE_HZ + generator.uniform(0, 2 * np.pi)
        noise += generator.uniform(0.1, 1.0) * np.sin(phase)
    return noise


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio**2)))
