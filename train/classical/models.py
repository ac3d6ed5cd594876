"""Models to beat, through scikit-learn: class average, k nearest neighbours, logistic regression.

Each learns from `x` [n_clips, n_values] and multi-hot `hot` [n_clips, n_labels], and scores `new` [n_new, n_values]:
[n_new, n_labels] from 0 to 1. Clips may have any number of labels.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestCentroid, NearestNeighbors
from sklearn.preprocessing import StandardScaler

Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

LOOSENESS = 20.0
"""C of logistic regression, by the number of values: inputs of 4 and of 4096 values are then held back alike."""
STEPS = 200


def standardise(x: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both to a mean of 0 and a deviation of 1 of every value of `x`."""
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(new)


def class_average(x: np.ndarray, hot: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The nearer to the mean of a label's clips, the higher; a label without clips scores 0."""
    rows, labels = np.nonzero(hot)
    if len(np.unique(labels)) < 2:
        return np.tile(hot.any(axis=0).astype(float), (len(new), 1))
    model = NearestCentroid().fit(x[rows], labels)
    scores = np.zeros((len(new), hot.shape[1]))
    scores[:, model.classes_] = softmax(-euclidean_distances(new, model.centroids_), axis=1)
    return scores


def nearest_neighbours(x: np.ndarray, new: np.ndarray, most: int) -> np.ndarray:
    """Rows of `x` nearest to each new clip, the nearest first: [n_new, most] int64."""
    return NearestNeighbors(n_neighbors=most, algorithm="brute").fit(x).kneighbors(new, return_distance=False)


def vote(hot: np.ndarray, neighbours: np.ndarray) -> Iterator[np.ndarray]:
    """For each k from 1, the share of the first k neighbours' rows of `hot` with each label: [n_new, n_labels].

    One k at a time: those of 50 for 40,000 clips of 200 labels are 3 GB.
    """
    votes = np.zeros((len(neighbours), hot.shape[1]))
    for k, rows in enumerate(neighbours.T, start=1):
        votes += hot[rows]
        yield votes / k


def logistic_regression(x: np.ndarray, hot: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Multinomial where each clip has one label, otherwise a model a label."""
    if (hot.sum(axis=1) == 1).all():
        return _probabilities(x, hot.argmax(axis=1), new, hot.shape[1])
    return np.column_stack([_probabilities(x, present, new, 2)[:, 1] for present in (hot > 0.5).astype(int).T])


def _probabilities(x: np.ndarray, classes: np.ndarray, new: np.ndarray, n_classes: int) -> np.ndarray:
    """Of each class [n_new, n_classes]; a class that never occurs scores 0."""
    probabilities = np.zeros((len(new), n_classes))
    there = np.unique(classes)
    if len(there) == 1:
        probabilities[:, there] = 1
        return probabilities
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # STEPS are enough to see what an input is worth
        model = LogisticRegression(C=LOOSENESS / x.shape[1], max_iter=STEPS).fit(x, classes)
    probabilities[:, model.classes_] = model.predict_proba(new)
    return probabilities


MODELS: dict[str, Model] = {"class average": class_average, "logistic regression": logistic_regression}
"""Beside nearest_neighbours, which vote anew for every k."""
