"""The first batches of a training before its augmentations, after each of them alone, and after all."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.augment.pipeline import AUGMENTATION_ORDER
from train.data.events import ClipEvents
from train.data.training_set import TrainingSet
from train.loop.fold_job import FoldJob

BEFORE, AFTER_ALL = "before", "after all"
MARK = 0.25
"""The target that marks a clip, to find its shares: below that of a label, by which clips may be balanced."""


@dataclass(frozen=True)
class AugmentedClips:
    """The first clips of an epoch after a step."""

    step: str
    """BEFORE, the name of an augmentation, or AFTER_ALL."""
    rows: Tensor
    """int64 [n_clips] of the frame bank."""
    x: Tensor
    """float32 [n_clips, n_frames, n_bins] in the unit of the features."""
    y: Tensor
    """float32 [n_clips, n_labels] targets of 0 to 1."""
    shares: list[dict[int, float]]
    """Of each clip, the rows mixed into it, its own too, with their shares: of power, of values for mixup."""


@dataclass(frozen=True)
class MarkedEvents(ClipEvents):
    """Labels in time, whose spans have the marks of their clips as their last labels."""

    mark_targets: Tensor
    """float32 [n_clips, n_marks]"""

    def label_spans(self, rows: np.ndarray, *args: Any, **options: Any) -> Tensor:
        targets = super().label_spans(rows, *args, **options)
        targets[:, -self.mark_targets.shape[1] :] = self.mark_targets[rows]
        return targets


def augmentation_probabilities(job: FoldJob) -> dict[str, float]:
    """The augmentations of a job's recipe, in order, with their probabilities."""
    names = [name for step in AUGMENTATION_ORDER for name in step]
    probabilities = {name: float(getattr(job.recipe.training, f"{name}_probability")) for name in names}
    return {name: probability for name, probability in probabilities.items() if probability}


def augment_first_clips(job: FoldJob, n_clips: int) -> Iterator[AugmentedClips]:
    """Yield the first `n_clips` of a job's first epoch after each step, an augmentation alone with probability 1.

    Clips and crops are the same in every step, because each purpose draws from a generator of its own; after all
    augmentations they are those that train the network.
    """
    keys = [f"{name}_probability" for name in augmentation_probabilities(job)]
    none: dict[str, Any] = dict.fromkeys(keys, 0.0)
    changes = {BEFORE: none} | {key.removesuffix("_probability"): none | {key: 1.0} for key in keys} | {AFTER_ALL: {}}
    for step, values in changes.items():
        rows, x, y = draw_first_batches(job, n_clips, values)
        marked = rows.unique()
        training_set = mark_clips(job.training_set, marked)
        marking = values | {"label_mixing": "proportional"}
        _, _, mixed = draw_first_batches(replace(job, training_set=training_set), n_clips, marking)
        weights = mixed[:n_clips, -len(marked) :] / MARK
        shares = [{int(marked[column]): float(each[column]) for column in torch.nonzero(each)} for each in weights]
        yield AugmentedClips(step, rows[:n_clips], x[:n_clips], y[:n_clips], shares)


def mark_clips(training_set: TrainingSet, rows: Tensor) -> TrainingSet:
    """The training set with a label more for each of `rows`, whose target is MARK for that clip and 0 for others."""
    mark_targets = MARK * (torch.arange(len(training_set.targets))[:, None] == rows)
    events = training_set.events
    if events:
        events = MarkedEvents(**vars(events) | {"n_labels": events.n_labels + len(rows)}, mark_targets=mark_targets)
    return replace(training_set, targets=torch.cat([training_set.targets, mark_targets], 1), events=events)


def draw_first_batches(job: FoldJob, n_clips: int, values: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, frames and targets of the first batches that hold `n_clips`, with these values of section training."""
    training = replace(job.recipe.training, **values)
    batches = replace(job, recipe=replace(job.recipe, training=training)).batches(0)
    first = itertools.islice(batches, -(-n_clips // training.batch_size))
    rows, x, y = zip(*((each.rows, each.x, each.y) for each in first), strict=True)
    return torch.cat(rows), torch.cat(x), torch.cat(y)
