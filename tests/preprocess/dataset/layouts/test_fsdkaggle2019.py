"""Layout `fsdkaggle2019` on a small set of its own, whole and with parts absent."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def freesound() -> dict[str, str]:
    """A set with both pools and two test clips in an order of their own."""
    return {
        "train_curated.csv": 'fname,labels\na.wav,"Zip,Bark_(dog)"\nb.wav,Zip\n',
        "train_noisy.csv": "fname,labels\nc.wav,Bark_(dog)\nd.wav,Zip\n",
        "sample_submission.csv": "fname,Zip,Bark_(dog)\nz.wav,0,0\ny.wav,0,0\n",
        "train_curated/a.wav": "",
        "train_noisy/c.wav": "",
        "test/y.wav": "",
    }


def test_fsdkaggle2019_follows_its_sample_submission(tmp_path: Path) -> None:
    dataset = read("fsdkaggle2019", write_files(tmp_path, freesound()))
    assert columns(dataset.table, "clip", "labels", "split", "label_quality") == [
        ("a.wav", "Zip;Bark_(dog)", "train", "curated"),
        ("b.wav", "Zip", "train", "curated"),
        ("c.wav", "Bark_(dog)", "train", "noisy"),
        ("d.wav", "Zip", "train", "noisy"),
        ("z.wav", "", "test", "curated"),
        ("y.wav", "", "test", "curated"),
    ]
    assert dataset.table["path"].iloc[3] == str(tmp_path / "train_noisy" / "d.wav")
    assert dataset.vocabulary == ["Zip", "Bark_(dog)"]
    assert dataset.sample is not None
    assert list(dataset.sample.columns) == ["fname", "Zip", "Bark_(dog)"]
    assert dataset.warnings == []


@pytest.mark.parametrize(
    ("absent", "note", "n_clips"), [("train_noisy", "no train_noisy/", 4), ("train_noisy.csv", "train_noisy.csv", 4)]
)
def test_fsdkaggle2019_without_noisy_clips(tmp_path: Path, absent: str, note: str, n_clips: int) -> None:
    files = {name: text for name, text in freesound().items() if name.split("/")[0] != absent}
    dataset = read("fsdkaggle2019", write_files(tmp_path, files))
    assert len(dataset.table) == n_clips
    assert note in dataset.notes[0]


def test_fsdkaggle2019_has_groups_and_folds_where_all_training_clips_have_them(tmp_path: Path) -> None:
    curated = "fname,labels,Fold,group,split\na.wav,Zip,3,g,test\nb.wav,Bark_(dog),5,h,\n"
    noisy = "fname,labels,fold,group\nc.wav,Zip,5,h\nd.wav,Zip,3,\n"
    write_files(tmp_path, freesound() | {"train_curated.csv": curated, "train_noisy.csv": noisy})
    dataset = read("fsdkaggle2019", tmp_path)
    expected = [("a.wav", 3, "g"), ("b.wav", 5, "h"), ("c.wav", 5, "h"), ("d.wav", 3, "d.wav")]
    assert columns(dataset.table, "clip", "fold", "group")[:4] == expected
    assert dataset.notes == [f"{tmp_path}/train_curated.csv: columns split are not read"]
    write_files(tmp_path, {"train_noisy.csv": "fname,labels\nc.wav,Zip\nd.wav,Zip\n"})
    dataset = read("fsdkaggle2019", tmp_path)
    assert set(dataset.table["fold"].iloc[:4]) == {0, 1}
    assert dataset.table["group"].iloc[:4].tolist() == ["g", "h", "c.wav", "d.wav"]
    assert dataset.notes[1] == "training clips have no fold, as 'c.wav': the column fold is not read"


def test_fsdkaggle2019_without_test_clips_keeps_its_vocabulary(tmp_path: Path) -> None:
    dataset = read("fsdkaggle2019", write_files(tmp_path, {k: v for k, v in freesound().items() if k != "test/y.wav"}))
    assert dataset.sample is None
    assert dataset.vocabulary == ["Zip", "Bark_(dog)"]
    assert "no test/" in dataset.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train_curated.csv", "fname,labels\na.wav,Moo\n", ["a.wav", "'Moo'"]),
        ("train_curated.csv", "fname,labels\na.wav,Zip;Moo\n", ["'Zip;Moo'", "';'"]),
        ("train_noisy.csv", "fname,labels\na.wav,Zip\nd.wav,Zip\n", ["two clips", "'a.wav'"]),
        ("sample_submission.csv", "fname\nz.wav\n", ["sample_submission.csv", "a column a label"]),
        ("sample_submission.csv", "id,Zip\nz.wav,0\n", ["sample_submission.csv", "no column fname"]),
    ],
)
def test_bad_fsdkaggle2019_sets_are_refused(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    assert_refused("fsdkaggle2019", write_files(tmp_path, freesound() | {name: text}), *words)


def test_fsdkaggle2019_labels_that_cannot_be_are_blamed_on_the_sample_submission(tmp_path: Path) -> None:
    files = {name: text for name, text in freesound().items() if not name.startswith("test/")}
    write_files(tmp_path, files | {"sample_submission.csv": "fname,Zip,labels\nz.wav,0,0\n"})
    assert_refused("fsdkaggle2019", tmp_path, f"{tmp_path}: sample_submission.csv names label 'labels'")


@pytest.mark.parametrize("name", ["train_curated.csv", "sample_submission.csv"])
def test_fsdkaggle2019_elsewhere_names_the_file_it_expects(tmp_path: Path, name: str) -> None:
    assert_refused(
        "fsdkaggle2019", write_files(tmp_path, {k: v for k, v in freesound().items() if k != name}), name, "data.folder"
    )
