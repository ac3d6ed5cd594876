"""What stands out in a submission, on scores small enough to see it, and on the page."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from predict import run
from predict.decide.fitted_params import Thresholds
from predict.output.summary import SubmissionSummary
from report.inspect import main
from report.summary import (
    MAX_ROWS,
    clip_table,
    confusion_matrix,
    format_summary,
    histogram,
    label_table,
    most_confused,
    rank_clips,
    sample_rows,
    top_labels,
    top_losses,
)
from tests.predict.conftest import TinyRun

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.1], [0.6, 0.8, 0.1], [0.4, 0.0, 0.45], [0.95, 0.2, 0.7]], np.float32)
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [np.nan] * 3, [0, 0, 1]], np.float32)
NOTES = ["A3", "B3", "C4"]
RANDOM = np.random.default_rng(0)


def summarise(truth: np.ndarray = TRUTH, *thresholds: float) -> SubmissionSummary:
    values = np.array(thresholds or [0.5] * 3, np.float32)
    return SubmissionSummary(list("abcde"), ["x", "y", "z"], SCORES, Thresholds(values, "tuned"), truth)


def notes(truth: np.ndarray, scores: np.ndarray) -> SubmissionSummary:
    clips, half = [f"{number}.wav" for number in range(len(scores))], Thresholds(np.full(3, 0.5), "0.5")
    return SubmissionSummary(clips, NOTES, scores.astype(np.float32), half, truth.astype(np.float32))


@pytest.fixture
def single() -> SubmissionSummary:
    """Forty clips of one label, scores that add up to 1, and one clip nothing is known of."""
    truth = np.eye(3)[RANDOM.integers(3, size=40)]
    scores = 0.3 * truth + 0.7 * RANDOM.dirichlet(np.ones(3), size=40)
    truth[7] = np.nan
    return notes(truth, scores)


def test_confident_unsure_and_unlabelled_clips_and_examples_of_each_label_in_turn() -> None:
    summary = summarise(np.full_like(TRUTH, np.nan))
    assert dict(zip(*label_table(summary)[["label", "top1"]].to_numpy().T, strict=True)) == {"x": 2, "y": 2, "z": 1}
    ranked = rank_clips(summary)
    assert ranked["most_confident"][:2] == [4, 0]
    assert ranked["least_confident"][:2] == ranked["unlabelled"] == [1, 3]
    assert ranked["example"] == [4, 2, 3, 0, 1]
    assert ranked["error"] == []
    assert not summary.has_truth.any()
    assert summary.metrics() == {}
    assert "  0 %: 0.300   5 %: 0.330   25 %: 0.450   50 %: 0.800" in format_summary(summary)


def test_no_label_is_top1_in_a_clip_without_votes() -> None:
    """Scores of vote_fraction below its weight of the mean probability are those of labels without votes."""
    scores = np.array(
        [[0.0004, 0.0003, 0.0001], [0.0002, 0.0003, 0.5], [0.0, 0.0, 0.0], [0.0002, 0.25, 0.25]], np.float32
    )
    summary = replace(notes(np.eye(3)[[0, 2, 1, 2]], scores), min_top_score=0.001)
    assert summary.top1.tolist() == [-1, 2, -1, 1]
    assert dict(zip(*label_table(summary)[["label", "top1"]].to_numpy().T, strict=True)) == {"A3": 0, "B3": 1, "C4": 1}
    clips = clip_table(summary)
    assert clips["predicted_label"].tolist() == ["no vote", "C4", "no vote", "B3"]
    assert clips["correct"].tolist() == [False, True, False, False]
    np.testing.assert_array_equal(confusion_matrix(summary), [[0, 0, 0], [0, 0, 0], [0, 1, 1]])
    assert "no vote" in format_summary(summary)


def test_no_label_is_top1_where_all_scores_are_0() -> None:
    """As of a program whose scores are shares of votes alone: the first label is not the answer."""
    summary = notes(np.eye(3)[[0, 1]], np.array([[0, 0, 0], [0, 0.5, 0]]))
    assert summary.top1.tolist() == [-1, 1]
    assert summary.metrics()["accuracy"] == 0.5
    assert clip_table(summary)["predicted_label"].tolist() == ["no vote", "B3"]


def test_wrong_clips_come_the_furthest_first() -> None:
    # e is given x at 0.95, which it is not; b is denied y at 0.3; d is not known.
    assert rank_clips(summarise())["error"] == [4, 1]


def test_thresholds_decide_what_is_wrong() -> None:
    ranked = rank_clips(summarise(TRUTH, 0.96, 0.25, 0.5))
    # a and c are denied x, the first at 0.9.
    assert ranked["error"] == [2, 0]
    assert ranked["unlabelled"] == [3, 0]


def test_a_table_of_many_clips_has_evenly_drawn_ones_and_those_that_are_shown() -> None:
    assert sample_rows(5, [3]) == [0, 1, 2, 3, 4]
    rows = sample_rows(10 * MAX_ROWS, [7, 12])
    assert {0, 7, 12, 10 * MAX_ROWS - 1} <= set(rows)
    assert len(rows) == MAX_ROWS + 2
    assert np.diff(rows).max() <= 11


def test_the_histogram_counts_every_clip_once() -> None:
    right, wrong, unknown = np.array(histogram(summarise(), 10)).T.tolist()
    assert right == [0, 0, 0, 1, 0, 0, 0, 0, 1, 1]
    assert wrong == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert unknown == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_labels_by_top1_counts_and_against_the_truth() -> None:
    rows = label_table(summarise()).to_dict("records")
    assert [(row["top1"], row["decided"], row["present"]) for row in rows] == [(2, 3, 2), (2, 1, 2), (1, 1, 1)]
    assert [(row["precision"], row["recall"]) for row in rows] == [(2 / 3, 1.0), (1.0, 0.5), (1.0, 1.0)]
    unknown = label_table(summarise(np.full_like(TRUTH, np.nan)))
    assert unknown[["precision", "recall"]].isna().all(axis=None)


def test_a_clip_shows_its_highest_true_and_given_labels() -> None:
    shown = top_labels(summarise(), 4, 1)
    assert [(label["label"], label["decided"], label["present"]) for label in shown] == [
        ("x", True, False),
        ("z", True, True),
    ]


def test_the_summary_names_clips_labels_and_truth() -> None:
    lines = format_summary(summarise()).splitlines()
    assert lines[0].split() == ["label", "top-1", "decided"]
    assert lines[1].split() == ["x", "2", "3"]
    assert "2 of 5 clips have no confident label:" in lines
    wrong = lines.index("2 of 4 clips of known labels are decided wrongly, the furthest off:")
    assert [line.split() for line in lines[wrong + 1 : wrong + 4]] == [
        ["score", "top-1", "clip", "is"],
        ["0.950", "x", "e", "z"],
        ["0.300", "y", "b", "y"],
    ]


def test_confusions_are_scikit_learn_s(single: SubmissionSummary) -> None:
    truth, scores = single.truth[single.has_truth], single.scores[single.has_truth]
    expected = reference(truth.argmax(axis=1), scores.argmax(axis=1), labels=range(3))
    np.testing.assert_array_equal(confusion_matrix(single), expected)


def test_the_most_frequent_confusion_comes_first() -> None:
    predicted = [0, 1, 1, 2, 0, 0, 2, 2]
    some = notes(np.eye(3)[[0, 0, 0, 1, 1, 2, 2, 2]], np.eye(3)[predicted])
    several = notes(np.array([[1, 1, 0], [0, 0, 1]]), np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]]))
    for one, expected in (
        (some, [("A3", "B3", 2), ("B3", "A3", 1), ("B3", "C4", 1), ("C4", "A3", 1)]),
        (several, []),
    ):
        matrix = confusion_matrix(one)
        assert matrix is not None
        assert most_confused(NOTES, matrix) == expected


def test_losses_of_one_label_are_its_cross_entropy(single: SubmissionSummary) -> None:
    loss = clip_table(single)["loss"]
    assert np.isnan(loss[7])
    for row in np.flatnonzero(single.has_truth):
        assert loss[row] == pytest.approx(-np.log(single.scores[row, single.truth[row].argmax()]), rel=1e-5)


def test_losses_of_several_labels_are_binary_and_finite() -> None:
    some = notes(np.array([[1, 1, 0], [0, 0, 1]]), np.array([[0.9, 0.8, 0.3], [1, 0, 0]]))
    first, second = clip_table(some)["loss"]
    assert first == pytest.approx(-np.log([0.9, 0.8, 0.7]).sum())
    assert 30 < second < 40


def test_the_most_confident_error_comes_first(single: SubmissionSummary) -> None:
    top = top_losses(single, 40)
    assert len(top) == 39
    assert top["loss"].is_monotonic_decreasing
    assert not top["correct"].iloc[0]
    assert top["correct"].iloc[-1]
    row = single.clips.index(top["clip"].iloc[0])
    assert top["predicted_label"].iloc[0] == NOTES[single.scores[row].argmax()]
    assert top["labels"].iloc[0] == NOTES[single.truth[row].argmax()]


def test_a_terminal_shows_confusions_and_losses(single: SubmissionSummary) -> None:
    lines = format_summary(single, 3).splitlines()
    counts = confusion_matrix(single)
    assert counts is not None
    row = next(line.split() for line in lines if line.split()[:2] == ["2", "B3"])
    assert row[2:] == [str(count or "·") for count in counts[1]]
    assert lines[-5] == "highest losses:"


def test_nothing_known_is_nothing_said() -> None:
    nothing = notes(np.full((2, 3), np.nan), np.full((2, 3), 0.4))
    assert confusion_matrix(nothing) is None
    assert not {"is", "losses:", "known", "label)"} & set(format_summary(nothing).split())


def test_the_page_has_the_matrix_and_the_losses(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.main(tiny_run.arguments)
    main(tiny_run.arguments)
    printed = capsys.readouterr().out
    assert "highest losses:" in printed
    html = (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")
    assert "<h2>Confusion matrix</h2>" in html
    assert "<h2>Top losses</h2>" in html
    losses = html.partition('<table class="losses">')[2].partition("</table>")[0]
    assert losses.count('<tr class="right">') + losses.count('<tr class="wrong">') == 6
    matrix = html.partition('<table class="matrix">')[2].partition("</table>")[0]
    assert matrix.count("<tr>") == 4
    assert matrix.count("<td") == 9
