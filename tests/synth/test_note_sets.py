"""What the sets of notes hold, and that no test instrument has been heard under another name."""

import struct
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from preprocess.dataset.note_names import clean_note, note_of
from synth.note_sets import MOST_NOTES, SETS, SPAN, TEST, TRAIN, plan_set
from synth.synthesizer import find_soundfont

INSTRUMENT, SAMPLE = 41, 53
"""Generators of a soundfont that name an instrument of a preset, and a sample of an instrument."""


def test_naturals_are_one_octave_for_every_instrument() -> None:
    takes = plan_set("naturals", 0, 2)
    assert len(takes) == 2 * 7 * (len(TRAIN) + len(TEST))
    assert {note_of(take.keys[0]) for take in takes} == {f"{natural}3" for natural in "CDEFGAB"}
    assert {take.file.name for take in takes} == {f"{natural}3_{take}.wav" for natural in "CDEFGAB" for take in (1, 2)}


def test_twelve_are_all_pitch_classes_within_the_range_over_octaves() -> None:
    takes = plan_set("twelve", 0, 5)
    classes = Counter((take.file.parent, take.keys[0] % 12) for take in takes)
    assert set(classes.values()) == {5}
    assert all(take.voice.low <= take.keys[0] <= take.voice.high for take in takes)
    assert len({take.keys[0] // 12 for take in takes}) >= 5


def test_chords_are_one_to_four_pitch_classes_within_two_octaves() -> None:
    takes = plan_set("chords", 0, 40)
    sizes = Counter(len(take.keys) for take in takes)
    assert set(sizes) == set(range(1, MOST_NOTES + 1))
    assert max(sizes.values()) < 1.3 * min(sizes.values())
    for take in takes:
        assert len({key % 12 for key in take.keys}) == len(take.keys)
        assert max(take.keys) - min(take.keys) <= SPAN
        assert take.voice.low <= min(take.keys) and max(take.keys) <= take.voice.high


@pytest.mark.parametrize("name", SETS)
def test_names_say_what_sounds_and_no_two_are_alike(name: str) -> None:
    takes = plan_set(name, 3, 2)
    for take in takes:
        notes = take.file.stem.partition("_")[0].split("+")
        assert [clean_note(note) for note in notes] == notes == list(map(note_of, take.keys))
    assert len({take.file for take in takes}) == len({take.seed for take in takes}) == len(takes)


def test_another_seed_is_another_set() -> None:
    assert plan_set("chords", 0, 2) != plan_set("chords", 1, 2)


def test_no_two_instruments_share_a_sample() -> None:
    samples = samples_of_programs(find_soundfont())
    programs = [voice.program for voice in (TRAIN | TEST).values()]
    assert all(samples[program] for program in programs)
    assert not [pair for pair in combinations(programs, 2) if samples[pair[0]] & samples[pair[1]]]


def samples_of_programs(path: Path) -> dict[int, set[int]]:
    """The samples that each program of a SoundFont 2 file plays."""
    content = path.read_bytes()
    chunks: dict[str, bytes] = {}
    for kind, lists in _chunks(content[12:]):
        if kind == "LIST" and lists[:4] == b"pdta":
            chunks = dict(_chunks(lists[4:]))
    presets = list(struct.iter_unpack("<20sHHHIII", chunks["phdr"]))
    programs = _zones([row[3] for row in presets], chunks["pbag"], chunks["pgen"], INSTRUMENT)
    instruments = [row[1] for row in struct.iter_unpack("<20sH", chunks["inst"])]
    samples = _zones(instruments, chunks["ibag"], chunks["igen"], SAMPLE)
    return {
        row[1]: set().union(*(samples[instrument] for instrument in used))
        for row, used in zip(presets, programs, strict=False)
        if row[2] == 0
    }


def _chunks(content: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        found.append((content[at : at + 4].decode(), content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def _zones(first_bags: list[int], bags: bytes, generators: bytes, wanted: int) -> list[set[int]]:
    """What the zones of each header (the last only ends the table) name by one generator."""
    starts = [row[0] for row in struct.iter_unpack("<HH", bags)]
    values = list(struct.iter_unpack("<HH", generators))
    return [
        {value for kind, value in values[starts[first] : starts[last]] if kind == wanted}
        for first, last in pairwise(first_bags)
    ]
