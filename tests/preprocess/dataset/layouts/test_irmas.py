"""Layout `irmas` on a small set with names as in the official one."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


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
        "IRMAS-TestingData-Part3.zip": "what it was unpacked from",
    }


def test_irmas_groups_tracks_and_reads_labels_of_test_clips(tmp_path: Path) -> None:
    dataset = read("irmas", write_files(tmp_path, instruments()))
    assert dataset.vocabulary == ["cel", "pia"]
    assert "1 of 3 clips of the testing parts have no .txt with instruments (nothing known-2.wav" in dataset.warnings[0]
    assert columns(dataset.table, "clip", "labels", "split", "group") == [
        ("008__[cel][nod][cla]0002__3.wav", "cel", "train", "cel0002"),
        ("[cel][cla]0001__1.wav", "cel", "train", "cel0001"),
        ("[cel][cla]0001__2.wav", "cel", "train", "cel0001"),
        ("[pia][dru][jaz_blu]0001__1.wav", "pia", "train", "pia0001"),
        ("01 - Alasdair - Scottish-1.wav", "cel;pia", "test", "01 - Alasdair - Scottish"),
        ("(02) kill the whale-10.wav", "pia", "test", "(02) kill the whale"),
        ("nothing known-2.wav", "", "test", "nothing known"),
    ]


def test_irmas_trains_on_the_first_pieces_of_the_testing_parts_in_order(tmp_path: Path) -> None:
    """Ten clips of four pieces: a fifth is nearest to the first piece of Part1, and its excerpts stay together."""
    pieces = {"Part1/Part1/b-1": "cel", "Part1/Part1/b-2": "pia", "Part1/Part1/c-1": "cel", "Part1/Part1/c-2": "cel"}
    pieces |= {f"Part2/IRTestingData-Part2/a-{number}": "pia" for number in (1, 2, 10)}
    pieces |= {f"Part3/Part3/d-{number}": "cel\t\npia" for number in (1, 2, 3)}
    files = {f"IRMAS-TestingData-{name}.wav": "" for name in pieces}
    files |= {f"IRMAS-TestingData-{name}.txt": f"{label}\t\n" for name, label in pieces.items()}
    training = {name: text for name, text in instruments().items() if "Training" in name}
    write_files(tmp_path, training | files)
    for share, moved in (
        (0.0, []),
        (0.05, []),
        (0.2, ["b"]),
        (0.4, ["b", "c"]),
        (0.7, ["b", "c", "a"]),
        (1.0, list("bcad")),
    ):
        dataset = read("irmas", tmp_path, irmas_share=share)
        tests = dataset.table[dataset.table["path"].str.contains("Testing")]
        trained = tests[tests["split"] == "train"]
        assert trained["group"].drop_duplicates().tolist() == moved, share
        assert set(trained["group"]).isdisjoint(tests.loc[tests["split"] == "test", "group"])
        assert (trained["fold"] >= 0).all()
        assert trained.groupby("group")["fold"].nunique().max() == 1 or trained.empty
        assert not share or f"{len(trained)} of 10 clips" in dataset.notes[0]


def test_irmas_does_not_train_on_pieces_whose_instruments_are_not_known(tmp_path: Path) -> None:
    write_files(tmp_path, instruments())
    table = read("irmas", tmp_path, irmas_share=1.0).table
    assert table.loc[table["split"] == "test", "clip"].tolist() == ["nothing known-2.wav"]


def test_irmas_names_clips_apart_that_parts_share(tmp_path: Path) -> None:
    twice = {f"IRMAS-TestingData-Part{part}/Part{part}/Track 01-1.wav": "" for part in "12"}
    clips = list(read("irmas", write_files(tmp_path, instruments() | twice)).table["clip"])
    assert set(twice) <= set(clips)


def test_irmas_without_test_clips_says_so(tmp_path: Path) -> None:
    dataset = read("irmas", write_files(tmp_path, {k: v for k, v in instruments().items() if "Training" in k}))
    assert set(dataset.table["split"]) == {"train"}
    assert "TestingData" in dataset.notes[0]
    assert dataset.warnings == []


@pytest.mark.parametrize("text", ["cel\npno\t\n", "cel, pia"])
def test_irmas_test_labels_of_no_training_folder_are_refused(tmp_path: Path, text: str) -> None:
    name = "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.txt"
    assert_refused(
        "irmas", write_files(tmp_path, instruments() | {name: text}), "01 - Alasdair - Scottish-1.wav", "vocabulary"
    )


@pytest.mark.parametrize(
    ("labels", "blamed"), [(None, "folder IRMAS-TrainingData names"), (["cel", "clip"], "data.labels names")]
)
def test_irmas_folders_and_the_recipe_s_labels_are_each_blamed_for_their_own(
    tmp_path: Path, labels: list[str] | None, blamed: str
) -> None:
    other = {"IRMAS-TrainingData/clip/[clip]0003__1.wav": ""}
    assert_refused(
        "irmas", write_files(tmp_path, instruments() | other), f"{tmp_path}: {blamed} label 'clip'", labels=labels
    )


def test_irmas_labels_that_are_no_text_are_named(tmp_path: Path) -> None:
    write_files(tmp_path, instruments())
    (tmp_path / "IRMAS-TestingData-Part3/Part3/nothing known-2.txt").write_bytes(b"\xff\xfe\0")
    assert_refused("irmas", tmp_path, "nothing known-2.txt", "as text")


def test_irmas_elsewhere_names_the_folder_it_expects(tmp_path: Path) -> None:
    assert_refused("irmas", tmp_path, str(tmp_path / "IRMAS-TrainingData"), "data.folder")
