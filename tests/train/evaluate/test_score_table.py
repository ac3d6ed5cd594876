"""Tables of scores come back as they were, or are refused by name."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from train.evaluate.score_table import read_scores, write_scores

CLIPS = ["one.wav", 'say "hi", twice.wav', "001", "NA"]
LABELS = ["low, deep", "高い", "NA"]


def test_what_is_written_reads_back_bit_for_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    values[0] = [0, 1, 1e-30]
    write_scores(tmp_path / "scores.csv", CLIPS, LABELS, values, id_column="fname")
    scores = read_scores(tmp_path / "scores.csv")
    assert (scores.clips, scores.labels) == (CLIPS, LABELS)
    assert scores.values.dtype == np.float32
    assert np.array_equal(scores.values, values)
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8").startswith("fname,")


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, np.inf])
def test_a_score_that_is_no_probability_is_refused_and_nothing_is_written(tmp_path: Path, wrong: float) -> None:
    values = np.full((4, 3), 0.5)
    values[2, 1] = wrong
    with pytest.raises(UserError, match=r"001.*高い"):
        write_scores(tmp_path / "scores.csv", CLIPS, LABELS, values)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,a\nx,0.5\nx,0.5\n", "'x' stands in it more than once"),
        ("clip,a,a\nx,0.5,0.5\n", "two columns named 'a'"),
        ("clip,a\nx,loud\n", "must hold numbers"),
        ("clip,a\nx,nan\n", "no score within"),
        ("clip,a\nx,0.5,0.5\n", "has 3 fields"),
        ("clip,a,b\n", "no line below its header"),
        ("clip\nx\n", "no column but 'clip'"),
        ("", "is empty"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.csv"):
        read_scores(tmp_path / "nowhere.csv")
