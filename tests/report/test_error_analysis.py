"""Confusions and losses of a submission, on scores small enough to see them, and on the page."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference

from predict import run
from predict.output.summary import SubmissionSummary
from report.error_analysis import clip_losses, confusion_matrix, format_errors, most_confused, top_losses
from report.inspect import main
from tests.predict.conftest import TinyRun

LABELS = ["A3", "B3", "C4"]
RANDOM = np.random.default_rng(0)


def summary(truth: np.ndarray, scores: np.ndarray) -> SubmissionSummary:
    clips = [f"{number}.wav" for number in range(len(scores))]
    return SubmissionSummary(clips, LABELS, scores.astype(np.float32), np.full(3, 0.5), truth.astype(np.float32))


@pytest.fixture
def single() -> SubmissionSummary:
    """Forty clips of one label, scores that add up to 1, and one clip nothing is known of."""
    truth = np.eye(3)[RANDOM.integers(3, size=40)]
    scores = 0.3 * truth + 0.7 * RANDOM.dirichlet(np.ones(3), size=40)
    truth[7] = np.nan
    return summary(truth, scores)


def test_confusions_are_scikit_learn_s(single: SubmissionSummary) -> None:
    has_truth = single.has_truth
    expected = reference(
        single.truth[has_truth].argmax(axis=1), single.scores[has_truth].argmax(axis=1), labels=range(3)
    )
    np.testing.assert_array_equal(confusion_matrix(single), expected)


def test_the_most_frequent_confusion_comes_first() -> None:
    predicted = [0, 1, 1, 2, 0, 0, 2, 2]
    some = summary(np.eye(3)[[0, 0, 0, 1, 1, 2, 2, 2]], np.eye(3)[predicted])
    several = summary(np.array([[1, 1, 0], [0, 0, 1]]), np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]]))
    for one, expected in (
        (some, [("A3", "B3", 2), ("B3", "A3", 1), ("B3", "C4", 1), ("C4", "A3", 1)]),
        (several, []),
    ):
        matrix = confusion_matrix(one)
        assert matrix is not None
        assert most_confused(LABELS, matrix) == expected


def test_losses_of_one_label_are_its_cross_entropy(single: SubmissionSummary) -> None:
    loss = clip_losses(single)
    assert np.isnan(loss[7])
    for row in np.flatnonzero(single.has_truth):
        assert loss[row] == pytest.approx(-np.log(single.scores[row, single.truth[row].argmax()]), rel=1e-5)


def test_losses_of_several_labels_are_binary_and_finite() -> None:
    some = summary(np.array([[1, 1, 0], [0, 0, 1]]), np.array([[0.9, 0.8, 0.3], [1, 0, 0]]))
    assert clip_losses(some)[0] == pytest.approx(-np.log([0.9, 0.8, 0.7]).sum())
    assert 30 < clip_losses(some)[1] < 40


def test_the_most_confident_error_comes_first(single: SubmissionSummary) -> None:
    top = top_losses(single, 40)
    assert len(top) == 39
    assert [each.loss for each in top] == sorted((each.loss for each in top), reverse=True)
    assert not top[0].correct
    assert top[-1].correct
    row = single.clips.index(top[0].clip)
    assert top[0].predicted_label == LABELS[single.scores[row].argmax()]
    assert top[0].labels == LABELS[single.truth[row].argmax()]


def test_a_terminal_shows_both(single: SubmissionSummary) -> None:
    lines = format_errors(single, 3).splitlines()
    counts = confusion_matrix(single)
    assert counts is not None
    row = next(line.split() for line in lines if line.split()[:2] == ["2", "B3"])
    assert row[2:] == [str(count or "·") for count in counts[1]]
    assert len(lines) == 1 + 1 + 1 + 3 + 2 + 3


def test_nothing_known_is_nothing_said() -> None:
    nothing = summary(np.full((2, 3), np.nan), np.full((2, 3), 0.4))
    assert format_errors(nothing, 5) == ""
    assert confusion_matrix(nothing) is None


def test_the_page_has_the_matrix_and_the_losses(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.main(tiny_run.arguments)
    main(tiny_run.arguments)
    printed = capsys.readouterr().out
    assert "highest losses:" in printed
    html = (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")
    assert "<h2>Confusion matrix</h2>" in html
    assert "<h2>Top losses</h2>" in html
    assert html.count('<tr class="right">') + html.count('<tr class="wrong">') == 6
    matrix = html.partition('<table class="matrix">')[2].partition("</table>")[0]
    assert matrix.count("<tr>") == 4
    assert matrix.count("<td") == 9
