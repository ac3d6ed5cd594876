"""Noisy labels judged by another run: the network of the same fold scores them, to keep, add or leave out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.device import arithmetic
from core.errors import BadInput
from recipe import Recipe, as_dict
from train.data.training_set import Material
from train.evaluate.score_clips import score_clips
from train.loop.train_state import check_unseen, of_fold
from train.runs.checkpoint import Checkpoint, load_checkpoint, network_from
from train.runs.run_folder import differing_keys


def taught(material: Material, recipe: Recipe, fold: int, device: torch.device) -> Material:
    """What the networks of `fold` learn from: its noisy clips as `training.teacher` corrects them, if there is one.

    The teacher's networks of the same fold never saw the clips that will be scored, so nothing of them comes back by
    way of the new labels. Raises BadInput where no clip is noisy, or where the teacher has no such network, or one of
    other labels or features, or one that did see them.
    """
    training = recipe.training
    if training.teacher is None:
        return material
    if not material.noisy.any():
        raise BadInput(f"training.teacher = {training.teacher}: the data have no noisy clips to judge; leave it out")
    rows = np.flatnonzero(material.noisy.numpy() & material.kept & (material.folds != fold))
    if not len(rows):
        return material
    networks = []
    for path in of_fold(Path(training.teacher), fold, "training.teacher"):
        checkpoint = load_checkpoint(path)
        _check(path, checkpoint, material, recipe)
        check_unseen(checkpoint.learnt, material, fold, f"training.teacher: {path}")
        networks.append(network_from(path, checkpoint, device))
    with arithmetic(device, training.precision):
        scores = score_clips(networks, material.memory, rows.tolist(), recipe.prediction)
    targets, kept = material.targets.clone(), material.kept.copy()
    targets[rows] = judge(targets[rows], scores, training.teacher_keeps, training.teacher_adds)
    kept[rows] = targets[rows].any(1).numpy()
    return replace(material, targets=targets, kept=kept, untaught=material)


def judge(targets: Tensor, scores: Tensor, keeps: float, adds: float) -> Tensor:
    """Targets [n, n_labels] without the labels that score below `keeps`, with those that score `adds` or more."""
    return ((targets >= 0.5) & (scores >= keeps) | (scores >= adds)).to(targets.dtype)


def describe_teaching(before: Material, after: Material, fold: int) -> str:
    """How many noisy clips a teacher kept as they were, relabelled and left out."""
    rows = before.noisy.numpy() & before.kept & (before.folds != fold)
    kept = rows & after.kept
    same = int((before.targets == after.targets).all(1).numpy()[kept].sum())
    return (
        f"fold{fold} the teacher keeps {same} of {rows.sum()} noisy clips as they are, relabels {kept.sum() - same} "
        f"and leaves out {rows.sum() - kept.sum()}"
    )


def _check(path: Path, teacher: Checkpoint, material: Material, recipe: Recipe) -> None:
    """Raise BadInput unless the teacher answers the same question about the same frames."""
    differing = differing_keys(teacher.recipe, as_dict(recipe), ["features"])
    if teacher.labels != material.labels or differing:
        raise BadInput(
            f"training.teacher: {path} was trained with {differing or 'other labels'}: train it by the same recipe"
        )
