"""The first batches of a training before its augmentations, after each of them alone, and after all."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from train.augment.pipeline import AUGMENTATION_ORDER
from train.loop.fold_job import FoldJob

BEFORE, AFTER_ALL = "before", "after all"


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
        training = replace(job.recipe.training, **values)
        batches = replace(job, recipe=replace(job.recipe, training=training)).batches(0)
        n_batches = -(-n_clips // training.batch_size)
        rows, x, y = zip(*((each.rows, each.x, each.y) for each in itertools.islice(batches, n_batches)), strict=True)
        yield AugmentedClips(step, *(torch.cat(values)[:n_clips] for values in (rows, x, y)))
