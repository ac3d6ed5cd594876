"""The demo's sound: every program sounds over its whole range, in tune, and a venue does what it says."""

from importlib.util import find_spec

import numpy as np
import pytest

from core.errors import BadInput
from synth import synthesizer as demo_sound
from synth.melodies import INSTRUMENTS, Note, Voice
from synth.synthesizer import RATE_HZ, Player, draw_player, draw_venue, find_soundfont, play, record

VOICES = [voice for instrument in INSTRUMENTS for voice in instrument.voices]


def player(program: int, tuning_semitones: float = 0.0) -> Player:
    """A musician without vibrato or swell."""
    return Player(program, tuning_semitones, vibrato_semitones=0, vibrato_hz=5, swell_hz=0.2, swell_depth=0)


def peak_hz(sound: np.ndarray) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * RATE_HZ / len(sound))


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: f"program{voice.program}")
def test_every_program_sounds_over_its_range(voice: Voice) -> None:
    for key in (voice.low, (voice.low + voice.high) // 2, voice.high):
        sound = play(player(voice.program), [Note(0.1, 0.4, key, 80)], 0.5)
        assert len(sound) == round(0.5 * RATE_HZ)
        assert np.abs(sound[: int(0.09 * RATE_HZ)]).max() == 0
        assert np.sqrt(np.mean(sound[int(0.1 * RATE_HZ) :] ** 2)) > 1e-3


@pytest.mark.parametrize("tuning_semitones", [0.0, 0.5])
def test_notes_are_in_tune(tuning_semitones: float) -> None:
    sound = play(player(73, tuning_semitones), [Note(0, 1, 69, 90)], 1.0)
    assert peak_hz(sound) == pytest.approx(440 * 2 ** (tuning_semitones / 12), rel=0.01)


def test_a_note_ends_when_its_key_is_released() -> None:
    sound = play(player(16), [Note(0, 0.3, 60, 90)], 1.5)
    assert np.abs(sound[: int(0.3 * RATE_HZ)]).max() > 100 * np.abs(sound[int(1.2 * RATE_HZ) :]).max()


def test_vibrato_and_swell_are_heard() -> None:
    note, plain = [Note(0, 2, 69, 90)], player(73)
    swelling = Player(73, 0, 0, 5, swell_hz=1.0, swell_depth=0.9)
    wavering = Player(73, 0, vibrato_semitones=1.0, vibrato_hz=5, swell_hz=1, swell_depth=0)
    steady, swelled = play(plain, note, 2.0), play(swelling, note, 2.0)
    middle = slice(int(1.4 * RATE_HZ), int(1.6 * RATE_HZ))
    assert np.abs(swelled[middle]).max() < 0.5 * np.abs(steady[middle]).max()
    quarters = [play(wavering, note, 2.0)[start : start + 2205] for start in range(22050, 26460, 1102)]
    heard = [peak_hz(quarter) for quarter in quarters]
    assert max(heard) - min(heard) > 10


def test_a_recording_has_no_clipping_and_the_same_seed_gives_the_same() -> None:
    parts = [play(player(program), [Note(0, 0.9, key, 100)], 1.0) for program, key in ((0, 60), (73, 76))]
    for seed in range(12):
        sounds = []
        for _ in range(2):
            generator = np.random.default_rng(seed)
            sounds.append(record(draw_venue(generator), parts, generator))
        np.testing.assert_array_equal(sounds[0], sounds[1])
        assert np.isfinite(sounds[0]).all()
        assert np.abs(sounds[0]).max() < 1
        level_db = 10 * np.log10(np.mean(sounds[0] ** 2))
        assert -40 < level_db < -12


def test_every_part_is_heard_whatever_its_own_level() -> None:
    loud, quiet = (play(player(73), [Note(0, 1, key, 90)], 1.0) for key in (64, 81))
    for seed in range(5):
        generator = np.random.default_rng(seed)
        spectrum = np.abs(np.fft.rfft(record(draw_venue(generator), [loud * 100, quiet], generator)))
        by_hz = [spectrum[round(hz * 0.97) : round(hz * 1.03)].max() for hz in (329.6, 880.0)]
        assert 0.05 < by_hz[0] / by_hz[1] < 20


def test_players_and_venues_vary() -> None:
    generator = np.random.default_rng(0)
    assert len({draw_player(0, 0.2, generator).tuning_semitones for _ in range(5)}) == 5
    assert len({len(draw_venue(generator).response) for _ in range(5)}) == 5


def test_a_missing_soundfont_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_soundfont().exists()
    monkeypatch.setattr(demo_sound, "find_spec", lambda name: find_spec("json"))
    with pytest.raises(BadInput, match="pip install"):
        find_soundfont()
