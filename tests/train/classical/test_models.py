"""Simple models against scikit-learn's own classifiers, and on clips of several labels or none of one."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from train.classical.models import MODELS, class_average, logistic_regression, nearest_neighbours, standardise, vote

RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.standard_normal((4, 6))
CLASSES = np.arange(60) % 4
X = CENTRES[CLASSES] + 0.9 * RANDOM.standard_normal((60, 6))
NEW = CENTRES[np.arange(20) % 4] + 0.9 * RANDOM.standard_normal((20, 6))
HOT = np.eye(4, dtype=np.float32)[CLASSES]


def test_one_label_a_clip_is_decided_as_scikit_learn_does() -> None:
    average = NearestCentroid().fit(X, CLASSES)
    assert (class_average(X, HOT, NEW).argmax(axis=1) == average.predict(NEW)).all()
    regression = LogisticRegression(C=20 / 6, max_iter=200).fit(X, CLASSES)
    np.testing.assert_allclose(logistic_regression(X, HOT, NEW), regression.predict_proba(NEW), atol=1e-6)


def test_the_votes_of_every_k_are_those_of_this_k_by_itself() -> None:
    by_k = list(vote(HOT, nearest_neighbours(X, NEW, 9)))
    assert len(by_k) == 9
    for k, votes in enumerate(by_k, start=1):
        alone = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(X, CLASSES)
        np.testing.assert_array_equal(votes, alone.predict_proba(NEW))
        assert (votes.argmax(axis=1) == alone.predict(NEW)).all()


@pytest.mark.parametrize("name", MODELS)
def test_clips_of_several_labels_are_scored_label_by_label(name: str) -> None:
    hot = HOT.copy()
    hot[:, 3] = X[:, 0] > 0  # beside their own
    scores = MODELS[name](X, hot, NEW)
    assert scores.shape == (20, 4)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[NEW[:, 0] > 0.5, 3].mean() > scores[NEW[:, 0] < -0.5, 3].mean() + 0.1


@pytest.mark.parametrize("name", MODELS)
def test_a_label_no_clip_has_scores_nothing(name: str) -> None:
    scores = MODELS[name](X, np.pad(HOT, ((0, 0), (0, 1))), NEW)
    assert (scores[:, 4] == 0).all()
    assert (scores[:, :4] > 0).any()


def test_new_clips_are_standardised_by_the_learnt_ones() -> None:
    learnt, new = standardise(X, X + 1)
    np.testing.assert_allclose(learnt.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(new - learnt, np.tile(1 / X.std(axis=0), (60, 1)))
