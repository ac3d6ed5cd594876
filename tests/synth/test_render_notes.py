"""make notes: files named by what sounds in them, the same for any jobs, whole or not at all."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from core.errors import UserError
from preprocess.dataset.layouts.notes import PITCH_CLASSES, normalize_note
from synth.note_sets import TEST, TRAIN
from synth.render_notes import main
from tests.make_commands import make


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The naturals and the chords, once each, by the command a user types."""
    folder = tmp_path_factory.mktemp("notes")
    make(folder, "notes", "", SETS="naturals chords", TAKES=1, NOTES=folder / "sets")
    return folder / "sets"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_instrument_plays_every_note(rendered: Path) -> None:
    for split, patches in (("train", TRAIN), ("test", TEST)):
        for instrument in patches:
            names = {path.name for path in (rendered / "naturals" / split / instrument).iterdir()}
            assert names == {f"{natural}3_1.wav" for natural in "CDEFGAB"}
            assert len(list((rendered / "chords" / split / instrument).iterdir())) == 1


def test_what_a_name_says_is_what_sounds(rendered: Path) -> None:
    right = []
    for path in sorted((rendered / "naturals" / "train").rglob("*.wav"))[::3]:
        sound, sample_rate_hz = soundfile.read(path)
        assert (sample_rate_hz, len(sound)) == (22_050, 22_050)
        assert np.sqrt(np.mean(sound**2)) > 0.01
        assert np.abs(sound).max() < 1
        chroma = librosa.feature.chroma_cqt(y=sound, sr=sample_rate_hz, bins_per_octave=12, tuning=0.0)
        right.append(
            PITCH_CLASSES[int(chroma.sum(axis=1).argmax())] == normalize_note(path.stem.split("_")[0], octave=False)
        )
    assert np.mean(right) > 0.85, "a fifth or a third above is sometimes louder than the note"


def test_what_is_missing_is_rendered_as_it_was(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--folder", str(rendered), "--sets", "naturals", "--takes", "1"]
    whole = contents(rendered)
    for name in [name for name in whole if name.endswith("A3_1.wav")]:
        (rendered / name).unlink()
    main([*options, "--jobs", "2"])
    assert "rendered 32 of" in capsys.readouterr().out
    assert contents(rendered) == whole
    main(options)
    assert "already there" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "7"], ["rendered.json", "another set", "--folder"]),
        (["--takes", "0"], ["takes", "0 does not conform to restriction v>0"]),
        (["--jobs", "0"], ["--jobs 0"]),
    ],
)
def test_bad_options_are_refused_in_one_line(rendered: Path, arguments: list[str], words: list[str]) -> None:
    before = contents(rendered)
    with pytest.raises(UserError) as caught:
        main(["--folder", str(rendered), "--sets", "naturals", *arguments])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert contents(rendered) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "naturals").mkdir()
    (tmp_path / "naturals" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="not rendered here"):
        main(["--folder", str(tmp_path), "--sets", "naturals"])
    assert list(contents(tmp_path)) == ["naturals/mine.txt"]
