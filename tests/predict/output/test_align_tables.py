"""Tables of several recipes: matched by names, and weighed by clips that are not scored."""

import numpy as np
import pytest

from core.errors import UserError
from predict.decide.blend_weights import blend_tables, fit_weights
from predict.output.align_tables import align_tables, cross_fit_blend
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


def test_a_fold_is_blended_by_weights_of_the_others() -> None:
    truth = (RANDOM.uniform(size=(60, 2)) < 0.4).astype(np.float32)
    good = np.clip(0.2 + 0.6 * truth + 0.1 * RANDOM.standard_normal(truth.shape), 0, 1).astype(np.float32)
    tables = [good, RANDOM.uniform(size=truth.shape).astype(np.float32)]
    folds = np.arange(60) % 3
    blended = cross_fit_blend(tables, truth, folds, "mean")
    weights = fit_weights([table[folds != 1] for table in tables], truth[folds != 1], "mean")
    np.testing.assert_array_equal(
        blended[folds == 1], blend_tables([table[folds == 1] for table in tables], "mean", weights)
    )
    ranked = cross_fit_blend(tables, truth, folds, "rank")
    np.testing.assert_array_equal(ranked[folds == 1], blend_tables(tables, "rank", weights)[folds == 1])
    changed = truth.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    np.testing.assert_array_equal(cross_fit_blend(tables, changed, folds, "mean")[folds == 1], blended[folds == 1])
