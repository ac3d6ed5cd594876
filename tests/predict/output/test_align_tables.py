"""Tables of several runs, matched by names."""

import numpy as np
import pytest

from core.errors import UserError
from predict.output.align_tables import align_tables
from train.evaluate.score_table import ScoreTable

RANDOM = np.random.default_rng(0)


def test_tables_are_matched_by_the_names_of_clips_and_labels() -> None:
    values = RANDOM.uniform(size=(3, 2)).astype(np.float32)
    first = ScoreTable(["a", "b", "c"], ["x", "y"], values)
    second = ScoreTable(["c", "a", "b"], ["y", "x"], values[[2, 0, 1]][:, ::-1])
    matched = align_tables(["one", "two"], [first, second])
    for table in matched:
        assert (table.clips, table.labels) == (first.clips, first.labels)
        np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize(
    ("clips", "labels", "words"),
    [(["a", "c"], ["x", "y"], ["two", "clip 'b'"]), (["a", "b"], ["x", "z"], ["two", "label 'y'"])],
)
def test_what_one_table_lacks_is_named(clips: list[str], labels: list[str], words: list[str]) -> None:
    values = np.zeros((2, 2), np.float32)
    with pytest.raises(UserError) as caught:
        align_tables(["one", "two"], [ScoreTable(["a", "b"], ["x", "y"], values), ScoreTable(clips, labels, values)])
    assert all(word in str(caught.value) for word in words), str(caught.value)
