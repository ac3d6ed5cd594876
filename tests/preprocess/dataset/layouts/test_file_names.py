"""Labels in the names of recordings, by `data.label_pattern`."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_labels_and_sources_are_parts_of_names(tmp_path: Path) -> None:
    names = ["s1/dog+cat_1.wav", "s1/cat_2.wav", "s2/dog_1.wav", "s2/dog_2.wav", "notes 3.wav"]
    pattern = r"^(?P<group>\w+)/([a-z]+)(?:\+([a-z]+))?_\d"
    dataset = read("folders", write_files(tmp_path, dict.fromkeys(names, "")), label_pattern=pattern)
    assert columns(dataset.table, "clip", "labels", "group") == [
        ("s1/cat_2.wav", "cat", "s1"),
        ("s1/dog+cat_1.wav", "dog;cat", "s1"),
        ("s2/dog_1.wav", "dog", "s2"),
        ("s2/dog_2.wav", "dog", "s2"),
    ]
    assert dataset.warnings == [
        "1 recording(s) have no label by data.label_pattern and are left out, as ['notes 3.wav']"
    ]


def test_patterns_match_whatever_the_form_of_unicode(tmp_path: Path) -> None:
    names = ["Zu\u0308rich/uhu_1.wav", "Z\u00fcrich/uhu_2.wav", "Bern/ku\u0308bel_1.wav", "Bern/uhu_3.wav"]
    write_files(tmp_path, dict.fromkeys(names, ""))
    pattern = "^(?P<group>Z\u00fcrich|Bern)/(uhu|ku\u0308bel)_"
    dataset = read("folders", tmp_path, label_pattern=pattern, folds=2)
    expected = ["Bern", "Bern", "Z\u00fcrich", "Z\u00fcrich"]
    assert sorted(dataset.table["group"]) == expected
    assert sorted(dataset.vocabulary) == ["k\u00fcbel", "uhu"]
    dataset = read("folders", tmp_path, label_pattern="/([^/_]+)_", group_pattern="^(Z\u00fcrich|Bern)/", folds=2)
    assert sorted(dataset.table["group"]) == expected


@pytest.mark.parametrize("folder", ["", "train/"])
def test_recordings_for_which_the_pattern_s_groups_are_empty_are_told(tmp_path: Path, folder: str) -> None:
    names = [f"{folder}{name}.wav" for name in ("dog_1", "dog_2", "cat_1", "cat_2", "7")]
    write_files(tmp_path, dict.fromkeys([*names, "test/dog_3.wav", "test/8.wav"] if folder else names, ""))
    dataset = read("folders", tmp_path, label_pattern=r"(?:^|/)(?:([a-z]+)_)?\d+\.wav$")
    assert dataset.warnings == [
        f"1 recording(s) have no label by data.label_pattern and are left out, as ['{folder}7.wav']"
    ]
    expected = [("test/8.wav", ""), ("test/dog_3.wav", "dog")] if folder else []
    assert columns(dataset.table[dataset.table["split"] == "test"], "clip", "labels") == expected
    assert dataset.table["labels"].value_counts()["cat"] == 2


def test_a_pattern_without_groups_and_splits(tmp_path: Path) -> None:
    names = ["train/dog1.wav", "train/cat1.wav", "train/dog2.wav", "train/cat2.wav", "test/dog1.wav", "test/9.wav"]
    table = read("folders", write_files(tmp_path, dict.fromkeys(names, "")), label_pattern="dog|cat").table
    assert columns(table[table["split"] == "test"], "clip", "labels") == [("test/9.wav", ""), ("test/dog1.wav", "dog")]
    assert table["labels"].value_counts().to_dict() == {"dog": 3, "cat": 2, "": 1}
    dataset = read("folders", write_files(tmp_path, {"more/cat3.wav": ""}), label_pattern="dog|cat")
    assert dataset.warnings[0].startswith("folders test, train are not read as splits, for 'more' is beside them")


def test_a_pattern_that_is_none_or_matches_nothing(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.wav": ""})
    assert_refused("folders", tmp_path, "data.label_pattern = '('", "no regular expression", label_pattern="(")
    words = "data.label_pattern = '[xyz]{9}' gives no recording a label", "'a/1.wav'"
    assert_refused("folders", tmp_path, *words, label_pattern="[xyz]{9}")
