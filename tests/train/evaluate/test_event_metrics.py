"""Metrics of events against cases counted by hand, and against plain loops."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from train.evaluate.event_metrics import EventScores, label_windows, score_events, score_segments

LABELS = ["bark", "rain", "wren"]
Row = tuple[str, float, float, str]


def events(*rows: Row) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["fname", "start_s", "end_s", "label"]).astype(
        {"start_s": "float64", "end_s": "float64"}
    )


def summary(scores: EventScores) -> tuple[list[list[int]], int, int, int]:
    """Counts by label (true, found, hits); substituted, missed, inserted."""
    return scores.counts.to_numpy().tolist(), scores.n_substituted, scores.n_missed, scores.n_inserted


def test_an_onset_may_be_200_ms_off() -> None:
    truth = events(("a", 3.0, 4.0, "bark"))
    for start_s, n_hits in ((2.8, 1), (3.2, 1), (2.79, 0), (3.21, 0)):
        scores = score_events(truth, events(("a", start_s, 4.0, "bark")), LABELS)
        assert scores.counts["hits"].tolist() == [n_hits, 0, 0], start_s


def test_an_offset_may_be_200_ms_or_a_fifth_of_the_event_s_length_off() -> None:
    for end_s, found_end_s, n_hits in (
        (0.5, 0.7, 1),
        (0.5, 0.71, 0),
        (10.0, 12.0, 1),
        (10.0, 8.0, 1),
        (10.0, 12.01, 0),
    ):
        scores = score_events(events(("a", 0, end_s, "bark")), events(("a", 0, found_end_s, "bark")), LABELS)
        assert scores.counts["hits"].tolist() == [n_hits, 0, 0], (end_s, found_end_s)


def test_events_counted_by_hand() -> None:
    """bark: one hit, one missed, one found twice. rain: found as wren. wren: in another recording only."""
    truth = events(("a", 0.0, 1.0, "bark"), ("a", 5.0, 6.0, "bark"), ("a", 10.0, 12.0, "rain"), ("b", 0.0, 1.0, "wren"))
    found = events(
        ("a", 0.1, 1.0, "bark"),
        ("a", 0.0, 1.1, "bark"),  # the first bark again: inserted
        ("a", 10.0, 12.0, "wren"),  # instead of rain: substituted
        ("a", 0.0, 1.0, "wren"),  # in the wrong recording: inserted
    )
    scores = score_events(truth, found, LABELS)
    assert summary(scores) == ([[2, 2, 1], [1, 0, 0], [1, 2, 0]], 1, 2, 2)
    assert scores.f1_micro == 2 * 1 / (4 + 4)
    assert scores.f1_per_label.tolist() == [0.5, 0.0, 0.0]
    assert scores.f1_macro == pytest.approx(0.5 / 3)
    assert scores.error_rate == (1 + 2 + 2) / 4


def test_as_many_events_as_possible_are_found() -> None:
    """The first of two found events lies close to both true ones, the second only to the first."""
    truth = events(("a", 0.0, 1.0, "bark"), ("a", 0.3, 1.0, "bark"))
    found = events(("a", 0.15, 1.0, "bark"), ("a", 0.0, 0.9, "bark"))
    for swapped in (found, found[::-1]):
        assert summary(score_events(truth, swapped, LABELS)) == ([[2, 2, 2], [0, 0, 0], [0, 0, 0]], 0, 0, 0)


def test_segments_counted_by_hand() -> None:
    """Seconds of a:  0     1     2     3     4
    true             bark  bark  rain   -     -
    found            bark  rain  rain  wren   -     and in b: wren is true in second 0 and nothing is found
    """
    truth = events(("a", 0.2, 1.5, "bark"), ("a", 2.0, 3.0, "rain"), ("b", 0.9, 0.95, "wren"))
    found = events(("a", 0.0, 1.0, "bark"), ("a", 1.0, 3.0, "rain"), ("a", 3.5, 4.0, "wren"))
    scores = score_segments(truth, found, LABELS)
    assert summary(scores) == ([[2, 1, 1], [1, 2, 1], [1, 1, 0]], 1, 1, 1)
    assert scores.f1_micro == 2 * 2 / (4 + 4)
    assert scores.f1_macro == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert scores.error_rate == 3 / 4


def test_overlapping_events_of_a_label_and_points_touch_a_segment_once() -> None:
    truth = events(("a", 0.0, 2.5, "bark"), ("a", 1.0, 2.0, "bark"), ("a", 7.0, 7.0, "rain"))
    found = events(("a", 0.0, 3.0, "bark"), ("a", 7.5, 7.5, "rain"))
    assert summary(score_segments(truth, found, LABELS)) == ([[3, 3, 3], [1, 1, 1], [0, 0, 0]], 0, 0, 0)


@pytest.mark.parametrize("score", [score_events, score_segments])
def test_nothing_true_or_nothing_found_is_no_error(score: type) -> None:
    some, none = events(("a", 0.0, 1.0, "bark"), ("a", 0.0, 1.0, "no label of these")), events()
    missed, inserted, empty = score(some, none, LABELS), score(none, some, LABELS), score(none, none, LABELS)
    assert (missed.f1_micro, missed.f1_macro, missed.error_rate) == (0, 0, 1)
    assert (inserted.f1_micro, inserted.f1_macro) == (0, 0)
    assert np.isnan([inserted.error_rate, empty.f1_micro, empty.f1_macro, empty.error_rate]).all()


def random_events(random: np.random.Generator, n: int) -> pd.DataFrame:
    start_s = random.choice(np.arange(0, 12, 0.15), n) + random.uniform(0, 0.1, n)
    length_s = random.choice([0.3, 1.0, 4.0], n)
    columns = {"fname": random.choice(["a", "b"], n), "start_s": start_s, "end_s": start_s + length_s}
    return pd.DataFrame(columns | {"label": random.choice(LABELS, n)})


def assign(close: list[list[bool]]) -> list[tuple[int, int]]:
    """As many pairs (row, column) as possible that are close."""
    if not close or not close[0]:
        return []
    matrix = np.array(close)
    return [
        (row, column) for row, column in zip(*linear_sum_assignment(-1 * matrix), strict=True) if matrix[row, column]
    ]


def is_close(true: Row, found: Row) -> bool:
    collar_s = max(0.2, 0.2 * (true[2] - true[1]))
    return true[0] == found[0] and abs(true[1] - found[1]) <= 0.2 and abs(true[2] - found[2]) <= collar_s


def test_events_of_long_tables_equal_plain_loops() -> None:
    """On random events, of which many are close to others."""
    random = np.random.default_rng(0)
    for _ in range(5):
        truth, found = random_events(random, 60), random_events(random, 50)
        near = truth.sample(25, random_state=random).assign(label=random.choice(LABELS, 25))
        near["start_s"] += random.uniform(-0.3, 0.3, 25).clip(-near["start_s"])
        found = pd.concat([found, near], ignore_index=True)
        scores, score_of_segments = score_events(truth, found, LABELS), score_segments(truth, found, LABELS)
        true_rows, found_rows = (list(table.itertuples(index=False, name=None)) for table in (truth, found))
        hits = assign([[is_close(one, other) and one[3] == other[3] for other in found_rows] for one in true_rows])
        assert scores.counts["hits"].sum() == len(hits)
        assert scores.n_missed + scores.n_substituted == 60 - len(hits)
        assert scores.n_inserted + scores.n_substituted == 75 - len(hits)
        substituted, missed, inserted, n_true = 0, 0, 0, 0
        for fname in ("a", "b"):
            for second in range(20):
                here, there = (
                    {row[3] for row in rows if row[0] == fname and row[1] < second + 0.999 and row[2] > second + 0.001}
                    for rows in (true_rows, found_rows)
                )
                both, n_true = len(here & there), n_true + len(here)
                substituted += min(len(here), len(there)) - both
                missed += max(0, len(here) - len(there))
                inserted += max(0, len(there) - len(here))
        expected = substituted, missed, inserted
        assert summary(score_of_segments)[1:] == expected
        assert score_of_segments.error_rate == pytest.approx(sum(expected) / n_true)


@pytest.mark.parametrize(
    ("min_overlap_s", "wren"), [(0.25, [0, 0, 0]), (0.04, [0, 0, 1]), (0.0, [0, 0, 1]), (60.0, [0, 0, 0])]
)
def test_a_window_has_the_labels_of_events_of_which_it_holds_enough(min_overlap_s: float, wren: list[int]) -> None:
    """bark fills the last window, and the first but for its first quarter second; rain is a point."""
    start_s, end_s = np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.5, 1.8])
    truth = events(("a", 0.25, 3.0, "bark"), ("a", 0.9, 0.9, "rain"), ("a", 1.76, 1.9, "wren"), ("a", 0, 9, "other"))
    bark = [1, 1, 1] if min_overlap_s < 1 else [0, 1, 1]
    found = label_windows(truth, start_s, end_s, LABELS, min_overlap_s)
    assert found.T.tolist() == [bark, [1, 1, 0], wren]
    assert label_windows(truth[:0], start_s, end_s, LABELS, min_overlap_s).sum() == 0
