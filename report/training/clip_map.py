"""A map of clips: the principal components of their embeddings, by one network that was not trained on them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from predict.inference.dataset_clips import StoredClips, score_side_by_side
from predict.inference.run_loader import TrainedRun
from preprocess.store.reader import Store
from report.media.charts import pick_colour
from report.training.out_of_fold import OofSummary

MAX_CLIPS = 2_000
MIN_CLIPS = 3
MAX_LABELS = 24
"""With a colour and a shape of their own."""
N_NEIGHBOURS = 5
SIZE, MARGIN = 600, 14
"""Of the map, in its own units."""
SHAPES = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "M-4.5-4.5h9v9h-9z", "M0-6L6 5H-6z", "M0-6.5L6.5 0 0 6.5-6.5 0z")
"""Circle, square, triangle, diamond: SVG paths around 0."""
SEVERAL, NONE, OTHERS = "several labels", "no label", "other labels"


@dataclass(frozen=True)
class ClipMap:
    """Clips of one fold, where the principal components of their embeddings put them."""

    fold: int
    n_clips: int
    """Of the fold; the map may have fewer."""
    variance: tuple[float, float]
    """The share of all variance in each component."""
    groups: list[dict[str, Any]]
    """As `group_points` has them."""
    size: ClassVar[int] = SIZE

    @property
    def n_points(self) -> int:
        return sum(len(group["points"]) for group in self.groups)


def make_clip_map(run: TrainedRun, store: Store, oof: OofSummary, device: torch.device, n_jobs: int) -> ClipMap | None:
    """The map of the held-out clips of the first fold that has enough of them; None where none has.

    All are embedded by one network, which was not trained on them: each network has a space of its own.
    """
    fold = next((each for each in sorted(run.folds) if (oof.folds == each).sum() >= MIN_CLIPS), None)
    if fold is None:
        return None
    held_out = np.flatnonzero(oof.folds == fold)
    rows = held_out[np.linspace(0, len(held_out) - 1, min(len(held_out), MAX_CLIPS)).round().astype(np.int64)]
    clips, tagger, stored = [oof.clips.clips[row] for row in rows], run.embedder(fold), StoredClips(store, device)
    windows = dict(score_side_by_side(tagger.scorer, clips, stored.read, device, n_jobs))
    embeddings = np.stack([windows[clip].scores.mean(0) for clip in clips])
    places, variance = project(embeddings)
    names = np.array(oof.clips.label_names, dtype=object)
    labels = [[str(name) for name in names[oof.clips.truth[row] >= 0.5]] for row in rows]
    points = pd.DataFrame(places, columns=["x", "y"])
    points["clip"], points["labels"], points["group"] = clips, list(map(", ".join, labels)), name_groups(labels)
    points["alike"] = count_alike(embeddings, points["group"].to_numpy())
    return ClipMap(fold, len(held_out), variance, group_points(points))


def project(embeddings: np.ndarray) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """The places [n_clips] of embeddings [n_clips, n_values] on the map, and the variance of both components.

    Both have one scale; the first component, which has more variance, goes to the right, the second upwards.
    """
    from sklearn.decomposition import PCA  # it takes a second to import

    values = embeddings.astype(np.float64)
    if not np.ptp(values, axis=0).any():
        return [(SIZE / 2, SIZE / 2)] * len(embeddings), (0.0, 0.0)
    pca = PCA(2, svd_solver="full")
    components = pca.fit_transform(values)
    middle, span = (components.max(0) + components.min(0)) / 2, np.ptp(components, axis=0).max()
    places = SIZE / 2 + (components - middle) / span * (SIZE - 2 * MARGIN) * (1, -1)
    first, second = pca.explained_variance_ratio_.tolist()
    return [(x, y) for x, y in places.round(1).tolist()], (first, second)


def name_groups(labels: Sequence[Sequence[str]]) -> list[str]:
    """The group of each clip: its only label, if that is one of the MAX_LABELS most frequent, or what it has instead.

    A label that is called like one of these groups joins it.
    """
    single = Counter(each[0] for each in labels if len(each) == 1)
    shown = {name for name, _ in single.most_common(MAX_LABELS)}

    def name_group(each: Sequence[str]) -> str:
        if len(each) == 1:
            return each[0] if each[0] in shown else OTHERS
        return SEVERAL if each else NONE

    return [name_group(each) for each in labels]


def group_points(points: pd.DataFrame) -> list[dict[str, Any]]:
    """Points [clip, labels, group, x, y, alike] in groups of one colour and shape: labels by name, then grey others.

    `alike` of a group is the mean of its clips; NaN unless the group is one label of several clips.
    """
    others, groups = (OTHERS, SEVERAL, NONE), []
    for number, name in enumerate(sorted(set(points["group"]), key=lambda name: (name in others, name))):
        members = points[points["group"] == name].sort_values("clip")
        groups.append(
            {
                "name": name,
                "colour": "var(--faint)" if name in others else pick_colour(number),
                "shape": SHAPES[number % len(SHAPES)],
                "points": members,
                "alike": float("nan") if name in others or len(members) < 2 else members["alike"].mean(),
            }
        )
    return groups


def count_alike(embeddings: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Of each clip's nearest clips by cosine, at most N_NEIGHBOURS, the share in the same group: float64 [n_clips]."""
    from sklearn.neighbors import NearestNeighbors  # it takes a second to import

    neighbours = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS, len(names) - 1), metric="cosine").fit(embeddings)
    nearest = neighbours.kneighbors(return_distance=False)  # each clip itself is left out
    return np.asarray((names[nearest] == names[:, None]).mean(1))
