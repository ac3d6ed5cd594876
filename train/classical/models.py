"""Simple models of scikit-learn, for clips of any number of labels: centroids, neighbours, logistic regression.

Fitted to `x` [n_clips, n_values] and `multi_hot` [n_clips, n_labels], they score `x_test` [n_test, n_values], 0 to 1.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

Key = TypeVar("Key")
Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

INVERSE_REGULARIZATION = 20.0
"""C of logistic regression times the number of values, so that inputs of any size are regularised alike."""
MAX_ITERATIONS = 200
NEIGHBOURS = "nearest neighbours"


def nearest_centroid(x: np.ndarray, multi_hot: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Scores by the distance to the mean of each label's clips; a label without clips scores 0."""
    n_clips = multi_hot.sum(axis=0)
    labels, scores = np.flatnonzero(n_clips), np.zeros((len(x_test), multi_hot.shape[1]))
    if len(labels):
        # Not scikit-learn's NearestCentroid, which refuses clips that are all alike, as silent ones are.
        centroids = multi_hot.T[labels] @ x / n_clips[labels, None]
        scores[:, labels] = softmax(-euclidean_distances(x_test, centroids), axis=1)
    return scores


def nearest_neighbours(x: np.ndarray, x_test: np.ndarray, n_neighbours: int) -> np.ndarray:
    """Rows of `x` nearest to each clip of `x_test`, the nearest first: [n_test, n_neighbours] int64."""
    model = NearestNeighbors(n_neighbors=n_neighbours, algorithm="brute").fit(x)
    return model.kneighbors(x_test, return_distance=False)


def vote_by_k(multi_hot: np.ndarray, neighbours: np.ndarray) -> Iterator[np.ndarray]:
    """Yield for each k from 1 the share of the first k neighbours that have each label: [n_test, n_labels]."""
    votes = np.zeros((len(neighbours), multi_hot.shape[1]))
    for k, rows in enumerate(neighbours.T, start=1):
        votes += multi_hot[rows]
        yield votes / k


def logistic_regression(x: np.ndarray, multi_hot: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Multinomial where each clip has one label, otherwise a model a label."""
    if (multi_hot.sum(axis=1) == 1).all():
        return _probabilities(x, multi_hot.argmax(axis=1), x_test, multi_hot.shape[1])
    return np.column_stack([_probabilities(x, present, x_test, 2)[:, 1] for present in (multi_hot > 0.5).astype(int).T])


def _probabilities(x: np.ndarray, classes: np.ndarray, x_test: np.ndarray, n_classes: int) -> np.ndarray:
    """Of each class [n_test, n_classes]; a class that never occurs scores 0."""
    probabilities = np.zeros((len(x_test), n_classes))
    if (classes == classes[0]).all():
        probabilities[:, classes[0]] = 1
        return probabilities
    model = LogisticRegression(C=INVERSE_REGULARIZATION / x.shape[1], max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(x, classes)
    probabilities[:, model.classes_] = model.predict_proba(x_test)
    return probabilities


MODELS: dict[str, Model] = {"nearest centroid": nearest_centroid, "logistic regression": logistic_regression}
"""All but nearest_neighbours, whose votes depend on k."""


def score_fold(
    key: Key, x: np.ndarray, multi_hot: np.ndarray, held_out: np.ndarray, max_k: int
) -> tuple[Key, dict[str, np.ndarray]]:
    """The key as given, and by model the scores of the held-out clips, fitted to the others; the indices of NEIGHBOURS.

    Values are scaled to a mean of 0 and a deviation of 1 in the others.
    It runs in a sandbox.
    """
    scaler = StandardScaler().fit(x[~held_out])
    x_train, x_test = scaler.transform(x[~held_out]), scaler.transform(x[held_out])
    scores = {name: model(x_train, multi_hot[~held_out], x_test) for name, model in MODELS.items()}
    return key, scores | {NEIGHBOURS: np.flatnonzero(~held_out)[nearest_neighbours(x_train, x_test, max_k)]}
