"""Layout `irmas` on a small set with names as in the official one."""

from pathlib import Path

import pytest

from tests.preprocess.small_sets import columns, fill, read, refused


def instruments() -> dict[str, str]:
    """Names as in the official set: other tags before the track number, spaces and dashes in test pieces."""
    return {
        "IRMAS-TrainingData/README.txt": "",
        "IRMAS-TrainingData/cel/[cel][cla]0001__1.wav": "",
        "IRMAS-TrainingData/cel/[cel][cla]0001__2.wav": "",
        "IRMAS-TrainingData/cel/008__[cel][nod][cla]0002__3.wav": "",
        "IRMAS-TrainingData/pia/[pia][dru][jaz_blu]0001__1.wav": "",
        "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.wav": "",
        "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.txt": "cel\t\npia\t\n",
        "IRMAS-TestingData-Part2/IRTestingData-Part2/(02) kill the whale-10.wav": "",
        "IRMAS-TestingData-Part2/IRTestingData-Part2/(02) kill the whale-10.txt": "\ufeffpia\t\r\n\r\n",
        "IRMAS-TestingData-Part3/Part3/nothing known-2.wav": "",
    }


def test_irmas_groups_tracks_and_reads_labels_of_test_clips(tmp_path: Path) -> None:
    layout = read("irmas", fill(tmp_path, instruments()))
    assert layout.vocabulary == ["cel", "pia"]
    assert columns(layout.table, "clip", "labels", "split", "group") == [
        ("008__[cel][nod][cla]0002__3.wav", "cel", "train", "cel0002"),
        ("[cel][cla]0001__1.wav", "cel", "train", "cel0001"),
        ("[cel][cla]0001__2.wav", "cel", "train", "cel0001"),
        ("[pia][dru][jaz_blu]0001__1.wav", "pia", "train", "pia0001"),
        ("01 - Alasdair - Scottish-1.wav", "cel;pia", "test", "01 - Alasdair - Scottish"),
        ("(02) kill the whale-10.wav", "pia", "test", "(02) kill the whale"),
        ("nothing known-2.wav", "", "test", "nothing known"),
    ]


def test_irmas_names_clips_apart_that_parts_share(tmp_path: Path) -> None:
    twice = {f"IRMAS-TestingData-Part{part}/Part{part}/Track 01-1.wav": "" for part in "12"}
    clips = list(read("irmas", fill(tmp_path, instruments() | twice)).table["clip"])
    assert set(twice) <= set(clips)


def test_irmas_without_test_clips_says_so(tmp_path: Path) -> None:
    layout = read("irmas", fill(tmp_path, {k: v for k, v in instruments().items() if "Training" in k}))
    assert set(layout.table["split"]) == {"train"}
    assert "TestingData" in layout.notes[0]


@pytest.mark.parametrize("text", ["cel\npno\t\n", "cel, pia"])
def test_irmas_test_labels_of_no_training_folder_are_refused(tmp_path: Path, text: str) -> None:
    name = "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.txt"
    refused("irmas", fill(tmp_path, instruments() | {name: text}), "01 - Alasdair - Scottish-1.wav", "vocabulary")


def test_irmas_labels_that_are_no_text_are_named(tmp_path: Path) -> None:
    fill(tmp_path, instruments())
    (tmp_path / "IRMAS-TestingData-Part3/Part3/nothing known-2.txt").write_bytes(b"\xff\xfe\0")
    refused("irmas", tmp_path, "nothing known-2.txt", "as text")


def test_irmas_elsewhere_names_the_folder_it_expects(tmp_path: Path) -> None:
    refused("irmas", tmp_path, str(tmp_path / "IRMAS-TrainingData"), "data.folder")
