"""The script that renders the demo: a set in the layout of IRMAS, whole, resumed, the same for one or two jobs."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from preprocess.dataset.loader import read_dataset
from recipe import Data
from synth.demo_set import plan_sessions
from synth.render_demo import main

ROOT = Path(__file__).parent.parent.parent
SMALL_SET = ["--train_clips", "2", "--test_clips", "3"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The script as users run it, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-m", "synth.render_demo", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of two training clips an instrument and three test clips."""
    folder = tmp_path_factory.mktemp("demo") / "set"
    ended = run("--folder", folder, *SMALL_SET, "--jobs", "1")
    assert ended.returncode == 0, ended.stderr
    assert {line.partition(":")[0] for line in ended.stderr.splitlines()} == {"rendering"}, "progress alone"
    assert str(folder) in ended.stdout
    return folder


def test_the_set_is_read_by_its_layout(rendered: Path) -> None:
    dataset = read_dataset(Data(layout="irmas", folder=str(rendered), folds=2))
    assert len(dataset.vocabulary) == 11
    assert dataset.table.groupby("split").size().to_dict() == {"test": 3, "train": 22}
    assert dataset.warnings == []
    test = dataset.table[dataset.table["split"] == "test"]
    assert (test["labels"] != "").all()


def test_clips_have_their_length_and_are_not_silent(rendered: Path) -> None:
    for path in rendered.rglob("*.flac"):
        sound, sample_rate_hz = soundfile.read(path)
        length_s = len(sound) / sample_rate_hz
        assert 5 <= length_s <= 20 if "Testing" in str(path) else length_s == 3
        assert np.sqrt(np.mean(sound**2)) > 0.01


def test_two_jobs_render_the_same_and_a_half_rendered_set_is_completed(rendered: Path, tmp_path: Path) -> None:
    whole = contents(rendered)
    main(["--folder", str(tmp_path / "set"), *SMALL_SET, "--jobs", "2"])
    assert contents(tmp_path / "set") == whole
    for name in list(whole)[::3]:
        if name != "rendered.json":
            (tmp_path / "set" / name).unlink()
    (tmp_path / "set" / ".0.flac.1.tmp").touch()  # as a process that was killed leaves it
    main(["--folder", str(tmp_path / "set"), *SMALL_SET, "--jobs", "1"])
    assert contents(tmp_path / "set") == whole


def test_a_whole_set_is_left_as_it_is(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*")}
    main(["--folder", str(rendered), *SMALL_SET])
    assert "already there" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in rendered.rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "7"], ["rendered.json", "another set", "--folder"]),
        (["--train_clips", "0"], ["train_clips", "0 does not conform to restriction v>0"]),
        (["--jobs", "0"], ["--jobs 0"]),
    ],
)
def test_bad_options_are_refused_in_one_line(rendered: Path, arguments: list[str], words: list[str]) -> None:
    before = contents(rendered)
    with pytest.raises(UserError) as caught:
        main(["--folder", str(rendered), *SMALL_SET, *arguments])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert contents(rendered) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="not rendered here"):
        main(["--folder", str(tmp_path), *SMALL_SET])
    assert list(contents(tmp_path)) == ["mine.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        main(["--folder", str(tmp_path / "file" / "set"), *SMALL_SET])
    assert str(caught.value.filename) == f"{tmp_path}/file/set"


def test_the_plan_is_balanced_and_splits_no_piece() -> None:
    sessions = plan_sessions(0, 40, 60)
    train = [session for session in sessions if not session.is_test]
    clips = Counter(session.instruments[0].code for session in train for _ in session.files)
    assert set(clips.values()) == {40}
    assert {len(session.files) for session in train} == {1, 2, 3}
    test = [session for session in sessions if session.is_test]
    assert sum(len(session.files) for session in test) == 60
    assert {len(session.instruments) for session in test} == {1, 2, 3, 4, 5}
    n_clips = Counter(instrument.code for session in test for instrument in session.instruments for _ in session.files)
    assert len(n_clips) == 11
    assert max(n_clips.values()) < 2.5 * min(n_clips.values())
    names = [file for session in sessions for file in session.files]
    assert len(set(names)) == len(names)
    assert len({session.seed for session in sessions}) == len(sessions)
