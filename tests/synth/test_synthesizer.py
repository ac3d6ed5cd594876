"""The demo's sound: every program sounds over its whole range, in tune, and a venue does what it says."""

from importlib.util import find_spec

import numpy as np
import pytest

from core.errors import UserError
from synth import synthesizer
from synth.melodies import INSTRUMENTS, Note, Patch
from synth.synthesizer import (
    SAMPLE_RATE_HZ,
    Performer,
    draw_conditions,
    draw_performer,
    find_soundfont,
    mix_recording,
    synthesize,
)

PATCHES = [patch for instrument in INSTRUMENTS for patch in instrument.patches]


def performer(program: int, tuning_semitones: float = 0.0) -> Performer:
    """A musician without vibrato or swell."""
    return Performer(program, tuning_semitones, vibrato_semitones=0, vibrato_hz=5, swell_hz=0.2, swell_depth=0)


def peak_hz(sound: np.ndarray) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(sound))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"program{patch.program}")
def test_every_program_sounds_over_its_range(patch: Patch) -> None:
    for key in (patch.low, (patch.low + patch.high) // 2, patch.high):
        sound = synthesize(performer(patch.program), [Note(0.1, 0.4, key, 80)], 0.5)
        assert len(sound) == round(0.5 * SAMPLE_RATE_HZ)
        assert np.abs(sound[: int(0.09 * SAMPLE_RATE_HZ)]).max() == 0
        assert np.sqrt(np.mean(sound[int(0.1 * SAMPLE_RATE_HZ) :] ** 2)) > 1e-3


@pytest.mark.parametrize("tuning_semitones", [0.0, 0.5])
def test_notes_are_in_tune(tuning_semitones: float) -> None:
    sound = synthesize(performer(73, tuning_semitones), [Note(0, 1, 69, 90)], 1.0)
    assert peak_hz(sound) == pytest.approx(440 * 2 ** (tuning_semitones / 12), rel=0.01)


def test_a_note_ends_when_its_key_is_released() -> None:
    sound = synthesize(performer(16), [Note(0, 0.3, 60, 90)], 1.5)
    assert np.abs(sound[: int(0.3 * SAMPLE_RATE_HZ)]).max() > 100 * np.abs(sound[int(1.2 * SAMPLE_RATE_HZ) :]).max()


def test_vibrato_and_swell_change_the_sound() -> None:
    note, plain = [Note(0, 2, 69, 90)], performer(73)
    swelling = Performer(73, 0, 0, 5, swell_hz=1.0, swell_depth=0.9)
    wavering = Performer(73, 0, vibrato_semitones=1.0, vibrato_hz=5, swell_hz=1, swell_depth=0)
    steady, swelled = synthesize(plain, note, 2.0), synthesize(swelling, note, 2.0)
    middle = slice(int(1.4 * SAMPLE_RATE_HZ), int(1.6 * SAMPLE_RATE_HZ))
    assert np.abs(swelled[middle]).max() < 0.5 * np.abs(steady[middle]).max()
    quarters = [synthesize(wavering, note, 2.0)[start : start + 2205] for start in range(22050, 26460, 1102)]
    peaks_hz = [peak_hz(quarter) for quarter in quarters]
    assert max(peaks_hz) - min(peaks_hz) > 10


def test_a_recording_has_no_clipping_and_the_same_seed_gives_the_same() -> None:
    parts = [synthesize(performer(program), [Note(0, 0.9, key, 100)], 1.0) for program, key in ((0, 60), (73, 76))]
    for seed in range(12):
        sounds = []
        for _ in range(2):
            generator = np.random.default_rng(seed)
            sounds.append(mix_recording(draw_conditions(generator), parts, generator))
        np.testing.assert_array_equal(sounds[0], sounds[1])
        assert np.isfinite(sounds[0]).all()
        assert np.abs(sounds[0]).max() < 1
        rms_db = 10 * np.log10(np.mean(sounds[0] ** 2))
        assert -40 < rms_db < -12


def test_every_part_is_audible_whatever_its_own_level() -> None:
    loud, quiet = (synthesize(performer(73), [Note(0, 1, key, 90)], 1.0) for key in (64, 81))
    for seed in range(5):
        generator = np.random.default_rng(seed)
        spectrum = np.abs(np.fft.rfft(mix_recording(draw_conditions(generator), [loud * 100, quiet], generator)))
        by_hz = [spectrum[round(hz * 0.97) : round(hz * 1.03)].max() for hz in (329.6, 880.0)]
        assert 0.05 < by_hz[0] / by_hz[1] < 20


def test_performers_and_recording_conditions_vary() -> None:
    generator = np.random.default_rng(0)
    assert len({draw_performer(0, 0.2, generator).tuning_semitones for _ in range(5)}) == 5
    assert len({len(draw_conditions(generator).response) for _ in range(5)}) == 5


def test_a_missing_soundfont_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_soundfont().exists()
    monkeypatch.setattr(synthesizer, "find_spec", lambda name: find_spec("json"))
    with pytest.raises(UserError, match="pip install"):
        find_soundfont()
