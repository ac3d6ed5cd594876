"""Blends of runs, by their command line and against slow second implementations."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import gmean

from core.errors import UserError
from predict.blend import main
from predict.decide.blend_weights import align_tables, blend_tables, cross_fit_blend, fit_weights
from predict.output.provenance import write_provenance
from recipe import Prediction, as_dict
from tests.predict.conftest import LABELS, TinyRun
from train.evaluate.score_table import ScoreTable, read_scores, write_scores

RANDOM = np.random.default_rng(0)
TABLES = [RANDOM.uniform(size=(6, 3)).astype(np.float32) for _ in range(2)]
WEIGHTS = np.array([0.25, 0.75])


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


def test_means_are_numpy_s_and_scipy_s() -> None:
    np.testing.assert_allclose(
        blend_tables(TABLES, "mean", WEIGHTS), np.average(TABLES, axis=0, weights=WEIGHTS), atol=1e-6
    )
    geometric = gmean(np.stack(TABLES).astype(float), axis=0, weights=WEIGHTS[:, None, None])
    np.testing.assert_allclose(blend_tables(TABLES, "geometric", WEIGHTS), geometric, atol=1e-6)


def test_ranks_are_those_of_a_label_s_clips() -> None:
    scores = np.array([[0.1, 0.5], [0.9, 0.5], [0.3, 0.7]], np.float32)
    ranked = blend_tables([scores], "rank", np.ones(1))
    np.testing.assert_allclose(ranked, np.array([[1, 1.5], [3, 1.5], [2, 3]]) / 3, atol=1e-6)


@pytest.mark.parametrize("by", ["mean", "geometric", "rank"])
def test_blends_stay_probabilities(by: str) -> None:
    extremes = [np.array([[0, 1, 0]], np.float32), np.array([[0, 1, 1]], np.float32)]
    blended = blend_tables(extremes, by, WEIGHTS)
    assert ((blended >= 0) & (blended <= 1)).all()


def test_a_good_run_weighs_more_than_a_bad_one() -> None:
    truth = (RANDOM.uniform(size=(300, 3)) < 0.3).astype(np.float32)
    good = np.clip(truth * 0.6 + 0.2 + 0.1 * RANDOM.standard_normal(truth.shape), 0, 1)
    weights = fit_weights([good, RANDOM.uniform(size=truth.shape)], truth, "mean")
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.9


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


def cross_entropy(tables: np.ndarray, truth: np.ndarray, weights: np.ndarray, by: str) -> float:
    if by == "mean":
        blended = np.average(tables, axis=0, weights=weights)
    else:
        blended = np.exp(np.average(np.log(tables), axis=0, weights=weights))
    return float(-np.mean(truth * np.log(blended) + (1 - truth) * np.log(1 - blended)))


@pytest.mark.parametrize("by", ["mean", "geometric"])
@pytest.mark.parametrize("seed", range(3))
def test_of_eight_tables_no_weights_are_better(by: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = (random.uniform(size=(200, 5)) < 0.3).astype(np.float64)
    logits = 3 * (truth - 0.5) * random.uniform(0.3, 1.5, (8, 1, 1)) + 1.5 * random.standard_normal((8, 200, 5))
    tables = 1 / (1 + np.exp(-logits * random.uniform(0.5, 1.5, (8, 1, 1))))
    weights = fit_weights(list(tables), truth, by)
    least = cross_entropy(tables, truth, weights, by)
    for towards in np.eye(8):  # the loss is convex: where no step lessens it, it is the least
        assert cross_entropy(tables, truth, 0.999 * weights + 0.001 * towards, by) > least * (1 - 1e-6)


def submission_csv(tiny_run: TinyRun, name: str) -> Path:
    return tiny_run.run_paths.submissions / name / "submission.csv"


@pytest.fixture
def runs(tiny_run: TinyRun) -> TinyRun:
    """Submissions `a` and `b` of the test clips, and their out-of-fold scores: `a` is right, `b` guesses."""
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    train = tiny_run.table[tiny_run.table["split"] == "train"]
    truth = np.array([[label == each for each in LABELS] for label in train["labels"]], np.float32)
    random = np.random.default_rng(1)
    for name, out_of_fold in (("a", 0.1 + 0.8 * truth), ("b", random.uniform(size=truth.shape))):
        scores = random.uniform(size=(len(test), 3)).astype(np.float32)
        write_scores(submission_csv(tiny_run, name), test["clip"].tolist(), LABELS, scores)
        path = tiny_run.run_paths.dataset_dir / "runs" / name / "oof.csv"
        write_scores(path, train["clip"].tolist(), LABELS, out_of_fold.astype(np.float32))
    return tiny_run


def submission(tiny_run: TinyRun, name: str) -> np.ndarray:
    return read_scores(submission_csv(tiny_run, name)).values


def test_runs_blend_equally_unless_asked(runs: TinyRun) -> None:
    main([*runs.arguments, "--run", "both", "--runs", "a", "b"])
    expected = (submission(runs, "a") + submission(runs, "b")) / 2
    np.testing.assert_allclose(submission(runs, "both"), expected, atol=1e-6)


def test_rows_and_columns_in_another_order_are_matched(runs: TinyRun) -> None:
    main([*runs.arguments, "--run", "both", "--runs", "a", "b"])
    expected = submission(runs, "both")
    for path in (submission_csv(runs, "b"), runs.run_paths.dataset_dir / "runs" / "b" / "oof.csv"):
        table = read_scores(path)
        write_scores(path, table.clips[::-1], table.labels[::-1], table.values[::-1, ::-1])
    main([*runs.arguments, "--run", "both", "--runs", "a", "b"])
    np.testing.assert_array_equal(submission(runs, "both"), expected)
    main([*runs.arguments, "--run", "both", "--runs", "a", "b", "--fit"])
    np.testing.assert_allclose(submission(runs, "both"), submission(runs, "a"), atol=0.1)


def test_weights_are_fitted_on_out_of_fold_scores(runs: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    main([*runs.arguments, "--run", "both", "--runs", "a", "b", "--fit"])
    printed = capsys.readouterr().out
    assert "out of fold, 6 clips:\n  lwlrap 1.0000  mAP 1.0000  accuracy 1.0000  a\n" in printed
    assert printed.index("  equal weights\n") < printed.index("  fitted weights, each fold by those of the others\n")
    np.testing.assert_allclose(submission(runs, "both"), submission(runs, "a"), atol=0.1)


@pytest.mark.parametrize(
    ("trained", "predicted", "told"),
    [
        ({"pooling": "mean"}, {"pooling": "max", "window_seconds": 1.0}, "window_seconds 1.0, prediction.pooling max"),
        ({"calibrate": True}, {"calibrate": True}, "calibrate True"),
        ({"pooling": "vote_fraction"}, {"pooling": "vote_fraction", "window_threshold": 0.25}, "window_threshold 0.25"),
        ({"pooling": "vote_fraction"}, {"pooling": "vote_fraction", "window_threshold": 0.5}, ""),
        ({}, {"mode": "dense", "threshold": 0.3, "window_threshold": 0.3}, ""),
    ],
)
def test_weights_by_scores_of_other_keys_than_the_submission_s_are_told(
    runs: TinyRun, capsys: pytest.CaptureFixture[str], trained: dict[str, Any], predicted: dict[str, Any], told: str
) -> None:
    recipe = {"prediction": as_dict(Prediction()) | trained}
    (runs.run_paths.dataset_dir / "runs" / "a" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_provenance(submission_csv(runs, "a"), "tiny", {"prediction": as_dict(Prediction()) | predicted})
    main([*runs.arguments, "--run", "both", "--runs", "a", "b", "--fit"])
    printed = capsys.readouterr().err
    assert (f"a/submission.csv was predicted with prediction.{told}, and " in printed) is bool(told), printed
    assert ("by which it is weighed" in printed) is bool(told), printed


@pytest.mark.parametrize("is_worse", [True, False])
def test_fitted_weights_that_are_worse_than_equal_ones_are_told(
    runs: TinyRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_worse: bool
) -> None:
    monkeypatch.setattr("predict.blend.cross_fit_blend", lambda scores, *_: scores[1] if is_worse else scores[0])
    main([*runs.arguments, "--run", "both", "--runs", "a", "b", "--fit"])
    assert ("fitted weights are worse than equal ones" in capsys.readouterr().out) is is_worse


def test_clips_that_are_gone_since_training_are_told(runs: TinyRun) -> None:
    runs.write_table(runs.table.iloc[1:])
    with pytest.raises(UserError, match=r"'train0 .* is not in .*oof\.csv is of other clips, run make train again"):
        main([*runs.arguments, "--run", "both", "--runs", "a", "b", "--fit"])


def test_a_blend_keeps_the_sample_s_form(runs: TinyRun) -> None:
    clips = read_scores(submission_csv(runs, "a")).clips[::-1]
    pd.DataFrame({"fname": clips} | dict.fromkeys(LABELS, 0)).to_csv(runs.run_paths.sample_csv, index=False)
    main([*runs.arguments, "--run", "both", "--runs", "a", "b"])
    assert submission_csv(runs, "both").read_text().startswith("fname,")
    assert read_scores(submission_csv(runs, "both")).clips == clips
    pd.DataFrame({"fname": [*clips, "new"]} | dict.fromkeys(LABELS, 0)).to_csv(runs.run_paths.sample_csv, index=False)
    with pytest.raises(UserError, match=r"lack clip 'new' of the sample .*one of 1.*make predict again for a, b"):
        main([*runs.arguments, "--run", "both", "--runs", "a", "b"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--runs", "a", "none"], ["none/submission.csv", "make predict"]),
        (["--runs", "a", "other"], ["other has no scores of clip", "test10", "which a has"]),
        (["--runs", "a", "b", "--run", "b"], ["--run b"]),
        (["--runs", "a", "b", "--run", "tiny"], ["--run tiny", "RUN=other"]),
        (["--runs", "a", "bare", "--fit"], ["oof.csv", "make train"]),
    ],
)
def test_runs_that_do_not_match_are_named(runs: TinyRun, options: list[str], words: list[str]) -> None:
    write_scores(submission_csv(runs, "other"), ["x.wav"], LABELS, np.zeros((1, 3), np.float32))
    table = read_scores(submission_csv(runs, "a"))
    write_scores(submission_csv(runs, "bare"), table.clips, table.labels, table.values)
    before = sorted(Path(runs.run_paths.submissions).iterdir())
    with pytest.raises(UserError) as caught:
        main([*runs.arguments, "--run", "both", *options])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert sorted(Path(runs.run_paths.submissions).iterdir()) == before
