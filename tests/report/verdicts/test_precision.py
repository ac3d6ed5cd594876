"""Precision from verdicts: intervals, the regression on score, thresholds; and which detections are judged."""

import numpy as np
import pandas as pd
import pytest

from report.verdicts.clip_choice import choose_detections
from report.verdicts.precision import choose_threshold, precision_table, probability_right


def simulate(seed: int, n_judged: int = 40) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Scores of 4,000 detections, low ones far more often; how probable it is that each is right; verdicts."""
    random = np.random.default_rng(seed)
    scores = 0.1 + 0.9 * random.beta(0.7, 2, 4_000)
    log_odds = np.log(scores / (1 - scores))
    probable = 1 / (1 + np.exp(-(1.6 * log_odds + 0.3)))
    detections = pd.DataFrame({"label": "a", "score": scores, "recording": "r", "window_start_s": np.arange(4_000.0)})
    detections["window_end_s"] = detections["window_start_s"] + 1
    judged = choose_detections(detections, "spread", n_judged, seed, detections.iloc[:0])
    rows = judged["window_start_s"].astype(int).to_numpy()
    return scores, probable, judged.assign(is_right=random.random(len(rows)) < probable[rows])


def test_wilson_s_interval() -> None:
    judged = pd.DataFrame({"label": [*"a" * 10, *"b" * 10], "score": 0.95, "is_right": [True] * 8 + [False] * 12})
    intervals = [row[6:] for row in precision_table(judged)]
    assert intervals[0] == intervals[1] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert intervals[2] == intervals[3] == pytest.approx([0.0, 0.2775], abs=1e-4)


def test_precision_is_of_ranges_of_scores_and_labels() -> None:
    scores = [0.05, 0.5, 0.69, 0.7, 1.0]
    judged = pd.DataFrame({"label": "a", "score": scores, "is_right": [False, True, False, True, True]})
    rows = [row[:6] for row in precision_table(judged)]
    assert rows == [
        ["a", 0.0, 0.1, 1, 0, 0.0],
        ["a", 0.5, 0.7, 2, 1, 0.5],
        ["a", 0.7, 0.9, 1, 1, 1.0],
        ["a", 0.9, 1.0, 1, 1, 1.0],
        ["a", 0.0, 1.0, 5, 3, 0.6],
    ]


def test_the_regression_is_nearer_the_wanted_precision_than_the_share_of_judged_clips() -> None:
    """Of spread verdicts, the share above a threshold is not the share of all detections there."""
    wanted, errors = 0.8, {"regression": list[float](), "share": list[float]()}
    for seed in range(40):
        scores, probable, judged = simulate(seed)
        by_score = judged.sort_values("score", ascending=False)
        share = by_score["is_right"].cumsum().to_numpy() / np.arange(1, len(by_score) + 1)
        lowest = np.flatnonzero(share >= wanted)
        thresholds = {
            "regression": choose_threshold("a", judged, scores, wanted).threshold,
            "share": by_score["score"].iloc[lowest[-1]] if len(lowest) else 1.0,
        }
        for name, threshold in thresholds.items():
            assert threshold is not None
            above = probable[scores >= threshold]
            errors[name].append(abs(above.mean() - wanted) if len(above) else 1 - wanted)
    assert np.mean(errors["regression"]) < 0.6 * np.mean(errors["share"])
    assert np.mean(errors["regression"]) < 0.08


def test_probabilities_are_those_of_the_simulation() -> None:
    scores, probable, judged = simulate(0, 400)
    found = probability_right(judged["score"].to_numpy(), judged["is_right"].to_numpy(), scores)
    assert np.abs(found - probable).mean() < 0.05


def verdicts(right: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"score": np.linspace(0.2, 0.9, len(right)), "is_right": right})


def test_thresholds_where_verdicts_are_few_alike_or_against_the_score() -> None:
    scores = np.append(np.linspace(0, 1, 101), np.linspace(0.2, 0.9, 10))
    assert choose_threshold("a", verdicts([True] * 9), scores, 0.9).threshold is None
    assert choose_threshold("a", verdicts([True] * 10), scores, 0.9).threshold == pytest.approx(0.2)
    assert choose_threshold("a", verdicts([False] * 10), scores, 0.9).threshold == 1
    backwards = verdicts([True] * 9 + [False])
    assert choose_threshold("a", backwards, scores, 0.9).threshold == pytest.approx(0.2)
    assert choose_threshold("a", backwards, scores, 0.95).threshold == 1
    none = choose_threshold("a", verdicts([False] * 12), np.linspace(0.2, 1, 12), 0.9)
    assert none.describe() == "a: no score is good enough, from now on only one of exactly 1 gives the label"
    judged = pd.DataFrame({"score": [0.5] * 10 + [1.0] * 10, "is_right": [False] * 10 + [True] * 10})
    reached = choose_threshold("a", judged, judged["score"].to_numpy(), 0.9)
    assert reached.describe() == "a: 1, 10 of 10 clips judged from there on are right"
    parted = choose_threshold("a", verdicts([False] * 5 + [True] * 5), scores, 0.9)
    assert parted.threshold is not None
    assert 0.3 < parted.threshold < 0.7


@pytest.mark.parametrize("how", ["top", "random", "spread"])
def test_detections_are_chosen_by_score_without_overlaps(how: str) -> None:
    random = np.random.default_rng(0)
    starts = np.tile(np.arange(0, 200, 0.5), 2)
    table = pd.DataFrame(
        {"recording": np.repeat(["x", "y"], 400), "window_start_s": starts, "window_end_s": starts + 1}
    )
    both = pd.concat([table.assign(label=label, score=random.beta(0.5, 4, 800)) for label in "ab"])
    chosen = choose_detections(both, how, 12, 3, both.iloc[:0])  # type: ignore[arg-type]
    assert chosen["label"].value_counts().to_dict() == {"a": 12, "b": 12}
    shuffled = both.sample(frac=1, random_state=1)
    again = choose_detections(shuffled, how, 12, 3, both.iloc[:0])  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(chosen, again)
    pd.testing.assert_frame_equal(chosen, choose_detections(both, how, 12, 3, chosen))  # type: ignore[arg-type]
    others = choose_detections(both, how, 12, 4, chosen)  # type: ignore[arg-type]
    for _, group in pd.concat([chosen, others]).drop_duplicates().groupby(["label", "recording"]):
        assert (np.diff(np.sort(group["window_start_s"])) >= 1).all()
    for (label, _), group in chosen.groupby(["label", "recording"]):
        assert (np.diff(np.sort(group["window_start_s"])) >= 1).all(), label
    scores = chosen.loc[chosen["label"] == "a", "score"]
    of_all = both.loc[both["label"] == "a", "score"]
    if how == "top":
        assert scores.iloc[0] == of_all.max()
        assert scores.min() > of_all.quantile(0.95)
    if how == "spread":
        ranges = np.linspace(of_all.min(), of_all.max(), 13)
        filled = np.histogram(of_all, ranges)[0] > 0
        assert (np.histogram(scores, ranges)[0][filled] >= 1).all()
