"""Simple models against scikit-learn's own classifiers, and on clips of several labels or none of one."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

from train.classical.models import (
    MODELS,
    NEIGHBOURS,
    logistic_regression,
    nearest_centroid,
    nearest_neighbours,
    score_fold,
    vote_by_k,
)

RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.standard_normal((4, 6))
CLASSES = np.arange(60) % 4
X_TRAIN = CENTRES[CLASSES] + 0.9 * RANDOM.standard_normal((60, 6))
X_TEST = CENTRES[np.arange(20) % 4] + 0.9 * RANDOM.standard_normal((20, 6))
MULTI_HOT = np.eye(4, dtype=np.float32)[CLASSES]


def test_one_label_a_clip_is_decided_as_scikit_learn_does() -> None:
    centroid = NearestCentroid().fit(X_TRAIN, CLASSES)
    assert (nearest_centroid(X_TRAIN, MULTI_HOT, X_TEST).argmax(axis=1) == centroid.predict(X_TEST)).all()
    regression = LogisticRegression(C=20 / 6, max_iter=200).fit(X_TRAIN, CLASSES)
    np.testing.assert_allclose(
        logistic_regression(X_TRAIN, MULTI_HOT, X_TEST), regression.predict_proba(X_TEST), atol=1e-6
    )


def test_the_votes_of_every_k_are_those_of_this_k_by_itself() -> None:
    by_k = list(vote_by_k(MULTI_HOT, nearest_neighbours(X_TRAIN, X_TEST, 9)))
    assert len(by_k) == 9
    for k, votes in enumerate(by_k, start=1):
        alone = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(X_TRAIN, CLASSES)
        np.testing.assert_array_equal(votes, alone.predict_proba(X_TEST))
        assert (votes.argmax(axis=1) == alone.predict(X_TEST)).all()


@pytest.mark.parametrize("name", MODELS)
def test_clips_of_several_labels_are_scored_label_by_label(name: str) -> None:
    multi_hot = MULTI_HOT.copy()
    multi_hot[:, 3] = X_TRAIN[:, 0] > 0  # beside their own
    scores = MODELS[name](X_TRAIN, multi_hot, X_TEST)
    assert scores.shape == (20, 4)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[X_TEST[:, 0] > 0.5, 3].mean() > scores[X_TEST[:, 0] < -0.5, 3].mean() + 0.1


@pytest.mark.parametrize("name", MODELS)
def test_a_label_no_clip_has_scores_nothing(name: str) -> None:
    scores = MODELS[name](X_TRAIN, np.pad(MULTI_HOT, ((0, 0), (0, 1))), X_TEST)
    assert (scores[:, 4] == 0).all()
    assert (scores[:, :4] > 0).any()


def test_clips_that_are_all_alike_have_scores_too() -> None:
    for multi_hot in (MULTI_HOT, np.ones((60, 2), np.float32), np.zeros((60, 2), np.float32)):
        labels = multi_hot.shape[1]
        for name, expected in (
            ("nearest centroid", multi_hot.any() / labels),
            ("logistic regression", multi_hot.mean()),
        ):
            scores = MODELS[name](np.zeros((60, 6)), multi_hot, np.zeros((5, 6)))
            np.testing.assert_allclose(scores, np.full((5, labels), expected), atol=1e-6)


def test_test_clips_are_standardised_by_training_clips() -> None:
    held_out = np.arange(80) % 4 == 0
    x, multi_hot = np.empty((80, 6)), np.zeros((80, 4), np.float32)
    x[~held_out], x[held_out], multi_hot[~held_out] = X_TRAIN, 100 * X_TEST + 1, MULTI_HOT
    scaler = StandardScaler().fit(X_TRAIN)
    x_train, x_test = scaler.transform(X_TRAIN), scaler.transform(x[held_out])
    _, scores = score_fold("a key", x, multi_hot, held_out, 3)
    for name, model in MODELS.items():
        np.testing.assert_array_equal(scores[name], model(x_train, MULTI_HOT, x_test))
    nearest = np.flatnonzero(~held_out)[nearest_neighbours(x_train, x_test, 3)]
    np.testing.assert_array_equal(scores[NEIGHBOURS], nearest)
