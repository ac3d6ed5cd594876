"""The demo's notes: in range and in key, as long as asked for, the same for the same seed."""

import numpy as np
import pytest

from synth.melodies import INSTRUMENTS, Instrument, Note, Piece, compose_notes, draw_piece

IRMAS = ["cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi"]


def test_instruments_are_those_of_irmas() -> None:
    assert [instrument.code for instrument in INSTRUMENTS] == IRMAS


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.code)
def test_parts_fill_their_time_in_range_and_in_key(instrument: Instrument) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        for patch in instrument.patches:
            piece = draw_piece(generator)
            notes = compose_notes(instrument, patch, piece, 6.0, generator)
            assert all(patch.low <= note.key <= patch.high for note in notes)
            assert {(note.key - piece.tonic) % 12 for note in notes} <= set(piece.scale)
            assert all(0 <= note.start_s < note.end_s and 1 <= note.velocity <= 127 for note in notes)
            starts_s = sorted([0.0, *(note.start_s for note in notes), 6.0])
            assert max(np.diff(starts_s)) < 3
            assert starts_s[-2] < 6.0 + instrument.strum_s


def test_chords_are_played_by_those_who_can() -> None:
    def share_of_chords(instrument: Instrument) -> float:
        parts = [part(instrument, seed) for seed in range(30)]
        return float(np.mean([has_chord(notes, instrument.strum_s) for notes in parts]))

    shares = {instrument.code: share_of_chords(instrument) for instrument in INSTRUMENTS}
    assert shares["flu"] == shares["tru"] == shares["sax"] == 0
    assert min(shares["pia"], shares["gac"], shares["org"]) > 0.3


def part(instrument: Instrument, seed: int) -> list[Note]:
    return compose_notes(instrument, instrument.patches[0], Piece(0.5, 0, (0, 2, 4, 5, 7, 9, 11)), 8.0, seeded(seed))


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def has_chord(notes: list[Note], strum_s: float) -> bool:
    """Whether two notes start together and end together but for the strum."""
    starts = np.sort([note.start_s for note in notes])
    return bool((np.diff(starts) <= min(strum_s, 0.05)).any())


def test_same_seed_same_notes() -> None:
    assert part(INSTRUMENTS[6], 3) == part(INSTRUMENTS[6], 3)
    assert part(INSTRUMENTS[6], 3) != part(INSTRUMENTS[6], 4)
