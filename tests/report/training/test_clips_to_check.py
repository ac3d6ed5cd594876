"""Which clips of a run are looked at, and in which order."""

import numpy as np

from predict.decide.fitted_params import Thresholds
from predict.output.summary import SubmissionSummary
from report.clip_cards import N_TOP_LABELS
from report.summary import top_labels
from report.training.clips_to_check import choose_clips, describe_clip, find_clips_to_check
from report.training.out_of_fold import OofSummary

SCORES = [[0.9, 0.2], [0.6, 0.7], [0.8, 0.3], [0.1, 0.4], [0.3, 0.45]]
TRUTH = [[1, 0], [1, 0], [0, 1], [1, 0], [1, 0]]
NOISY = np.array([False, False, True, False, False])


def summarise() -> OofSummary:
    scores, truth = np.array(SCORES, np.float32), np.array(TRUTH, np.float32)
    thresholds = Thresholds(np.full(2, 0.5, np.float32), "0.5")
    clips = SubmissionSummary(list("vwxyz"), ["a", "b"], scores, thresholds, truth, names={"a": "A", "b": "B"})
    return OofSummary(clips, np.array([0, 1, 0, 1, 0]), NOISY)


def test_label_issues_come_first_and_noisy_clips_have_no_high_losses() -> None:
    found = find_clips_to_check(summarise())
    assert {row: dict(clip.ranks) for row, clip in found.items()} == {
        2: {"issue": 0},
        3: {"issue": 1, "loss": 0},
        4: {"issue": 2, "loss": 1},
        1: {"issue": 3, "loss": 2},
        0: {"loss": 3},
    }
    assert [clip.proposed for clip in found.values()] == [["a"], [], [], ["a", "b"], []]


def test_a_third_of_the_clips_shown_have_the_highest_losses() -> None:
    found = find_clips_to_check(summarise())
    assert list(choose_clips(found, 3)) == [2, 3, 4]
    assert list(choose_clips(found, 60)) == list(found)
    assert list(choose_clips({0: found[0], 2: found[2]}, 3)) == [0, 2]


def test_proposed_labels_are_checked_or_else_the_given_ones() -> None:
    oof = summarise()
    found = find_clips_to_check(oof)
    cards = {row: {"labels": top_labels(oof.clips, row, N_TOP_LABELS)} for row in (2, 3)}
    choices = {row: describe_clip(card, row, found[row], oof)["choices"] for row, card in cards.items()}
    assert choices[2] == [("a", "A", True), ("b", "B", False)]
    assert choices[3] == [("b", "B", False), ("a", "A", True)]
