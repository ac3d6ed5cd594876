"""What the sets of notes hold, and that no test instrument has been heard under another name."""

import struct
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from preprocess.dataset.layouts.notes import normalize_note, note_name
from synth.note_sets import MAX_CHORD_NOTES, MAX_CHORD_SPAN, SETS, TEST, TRAIN, plan_note_clips
from synth.synthesizer import find_soundfont

INSTRUMENT, SAMPLE = 41, 53
"""Generators of a soundfont that name an instrument of a preset, and a sample of an instrument."""


def test_naturals_are_one_octave_for_every_instrument() -> None:
    note_clips = plan_note_clips("naturals", 0, 2)
    assert len(note_clips) == 2 * 7 * (len(TRAIN) + len(TEST))
    assert {note_name(note_clip.keys[0]) for note_clip in note_clips} == {f"{natural}3" for natural in "CDEFGAB"}
    assert {note_clip.file.name for note_clip in note_clips} == {
        f"{natural}3_{number}.wav" for natural in "CDEFGAB" for number in (1, 2)
    }


def test_twelve_are_all_pitch_classes_within_the_range_over_octaves() -> None:
    note_clips = plan_note_clips("twelve", 0, 5)
    classes = Counter((note_clip.file.parent, note_clip.keys[0] % 12) for note_clip in note_clips)
    assert set(classes.values()) == {5}
    assert all(note_clip.patch.low <= note_clip.keys[0] <= note_clip.patch.high for note_clip in note_clips)
    assert len({note_clip.keys[0] // 12 for note_clip in note_clips}) >= 5


def test_chords_are_one_to_four_pitch_classes_within_two_octaves() -> None:
    note_clips = plan_note_clips("chords", 0, 40)
    sizes = Counter(len(note_clip.keys) for note_clip in note_clips)
    assert set(sizes) == set(range(1, MAX_CHORD_NOTES + 1))
    assert max(sizes.values()) < 1.3 * min(sizes.values())
    for note_clip in note_clips:
        assert len({key % 12 for key in note_clip.keys}) == len(note_clip.keys)
        assert max(note_clip.keys) - min(note_clip.keys) <= MAX_CHORD_SPAN
        assert note_clip.patch.low <= min(note_clip.keys) and max(note_clip.keys) <= note_clip.patch.high


@pytest.mark.parametrize("name", SETS)
def test_names_say_what_sounds_and_no_two_are_alike(name: str) -> None:
    note_clips = plan_note_clips(name, 3, 2)
    for note_clip in note_clips:
        notes = note_clip.file.stem.partition("_")[0].split("+")
        assert [normalize_note(note) for note in notes] == notes == list(map(note_name, note_clip.keys))
    assert (
        len({note_clip.file for note_clip in note_clips})
        == len({note_clip.seed for note_clip in note_clips})
        == len(note_clips)
    )


def test_another_seed_is_another_set() -> None:
    assert plan_note_clips("chords", 0, 2) != plan_note_clips("chords", 1, 2)


def test_no_two_instruments_share_a_sample() -> None:
    samples = samples_of_programs(find_soundfont())
    programs = [patch.program for patch in (TRAIN | TEST).values()]
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
