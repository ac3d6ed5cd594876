"""Labels: joined and split without loss, encoded as scikit-learn does, refused by name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer

from core.errors import UserError
from preprocess.dataset.labels import (
    check_vocabulary,
    choose_vocabulary,
    join_labels,
    read_vocabulary,
    split_labels,
    to_multi_hot,
    write_vocabulary,
)

LABEL = st.text(st.characters(codec="utf-8", exclude_characters=";\0"), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and text.splitlines() == [text]
)


@given(labels=st.lists(LABEL, unique=True, max_size=5))
def test_labels_of_any_script_come_back(labels: list[str]) -> None:
    assert split_labels(join_labels(labels)) == labels


@given(
    vocabulary=st.lists(LABEL, unique=True, min_size=1, max_size=6),
    picks=st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6),
)
def test_encoding_equals_scikit_learn_s(vocabulary: list[str], picks: list[list[int]]) -> None:
    lists = [[vocabulary[pick % len(vocabulary)] for pick in row] for row in picks]
    multi_hot = to_multi_hot([join_labels(row) for row in lists], vocabulary)
    assert multi_hot.dtype == np.float32
    np.testing.assert_array_equal(
        multi_hot, MultiLabelBinarizer(classes=vocabulary).fit_transform(lists).reshape(multi_hot.shape)
    )


@pytest.mark.parametrize("label", ["", " bark", "bark ", "a;b", "a\nb", "a\u2028b", "a\0b"])
def test_labels_that_would_not_come_back_are_refused(label: str) -> None:
    with pytest.raises(UserError, match="rename it"):
        join_labels(["fine", label])


def test_a_label_in_no_vocabulary_is_named_with_its_clip() -> None:
    with pytest.raises(UserError) as caught:
        to_multi_hot(["bark", "bark;moo"], ["bark"], clips=["a.wav", "b.wav"])
    assert "b.wav" in str(caught.value)
    assert "'moo'" in str(caught.value)
    assert "data.labels" in str(caught.value)


def test_vocabulary_file_keeps_order(tmp_path: Path) -> None:
    labels = ["zip", "a, b", "高い", 'say "hi"']
    write_vocabulary(tmp_path / "labels.csv", labels)
    assert read_vocabulary(tmp_path / "labels.csv") == labels


def test_missing_vocabulary_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run make features first"):
        read_vocabulary(tmp_path / "labels.csv")


@pytest.mark.parametrize(("labels", "word"), [([], "no label"), (["a", "b", "a"], "'a' 2 times"), (["a;b"], "';'")])
def test_bad_vocabularies_are_refused(labels: list[str], word: str) -> None:
    with pytest.raises(UserError, match=word):
        check_vocabulary(labels, "data.labels")


def clips(*rows: tuple[str, str]) -> pd.DataFrame:
    """A table of clips named 0, 1, … of labels and splits."""
    table = pd.DataFrame(rows, columns=["labels", "split"])
    return table.assign(clip=table.index.astype(str))


def choose(table: pd.DataFrame, requested: list[str] | None = None, sample: list[str] | None = None) -> list[str]:
    return choose_vocabulary(table, requested, sample, "data.labels")


def test_by_default_the_vocabulary_is_every_training_label_sorted() -> None:
    assert choose(clips(("b;c", "train"), ("a", "train"), ("c", "test"), ("", "test"))) == ["a", "b", "c"]


def test_sample_columns_and_wanted_labels_keep_their_order() -> None:
    table = clips(("b", "train"))
    assert choose(table, None, ["c", "b"]) == ["c", "b"]
    assert choose(table, ["c", "b"]) == ["c", "b"]
    assert choose(table, ["b", "c"], ["c", "b"]) == ["c", "b"]


@pytest.mark.parametrize(
    ("requested", "sample", "word"),
    [(["a", "b"], ["a", "c"], "'b'"), (["a"], ["b"], "'a'"), (None, ["b"], "'a'"), (["b"], None, "'a'")],
)
def test_vocabularies_that_do_not_fit_are_refused(
    requested: list[str] | None, sample: list[str] | None, word: str
) -> None:
    with pytest.raises(UserError, match=f"label {word}"):
        choose(clips(("a", "train")), requested, sample)


def test_a_test_label_no_training_clip_has_is_refused() -> None:
    with pytest.raises(UserError, match="'z'"):
        choose(clips(("a", "train"), ("z", "test")))
