"""Labels of noisy clips kept, added or removed by the scores of another run's networks, the teacher; and its scores as
labels of clips without any.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from core.errors import UserError
from recipe import Recipe, as_dict
from train.data.training_set import TrainingSet
from train.evaluate.window_scorer import score_clips
from train.loop.train_state import check_leakage
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint
from train.runs.run_folder import describe_differing_keys, find_fold_checkpoints


def relabel_noisy_clips(training_set: TrainingSet, recipe: Recipe, fold: int, device: torch.device) -> TrainingSet:
    """The training set of `fold`, with the labels of its noisy clips changed by `training.teacher`, if there is one.

    Clips without labels get the teacher's scores as targets between 0 and 1.

    The teacher's networks of the same fold were not trained on the held-out clips, so the new labels leak nothing of
    them. Raises UserError without noisy clips, without such a network, and where its labels or features differ.
    """
    training = recipe.training
    if training.teacher is None:
        return training_set
    if not training_set.noisy.any():
        raise UserError(f"training.teacher = {training.teacher}: the data have no noisy clips to judge; leave it out")
    rows = np.flatnonzero(training_set.noisy.numpy() & (training_set.folds != fold))
    if not len(rows):
        return training_set
    networks = []
    for path in find_fold_checkpoints(training.teacher, fold, "training.teacher"):
        checkpoint = load_checkpoint(path)
        differing_keys = describe_differing_keys(checkpoint.recipe, as_dict(recipe), ["features"])
        if checkpoint.labels != training_set.labels or differing_keys:
            raise UserError(
                f"training.teacher: {path} was trained with {differing_keys or 'other labels'}: train it by the same "
                "recipe"
            )
        check_leakage(checkpoint, training_set, fold, f"training.teacher: {path}")
        networks.append(build_network_from_checkpoint(path, checkpoint, device))
    scores = score_clips(networks, training_set.frame_bank, rows.tolist(), recipe)
    targets, kept = training_set.targets.clone(), training_set.kept.copy()
    keep_threshold, add_threshold = training.teacher_keep_threshold, training.teacher_add_threshold
    targets[rows] = relabel_targets(targets[rows], scores, keep_threshold, add_threshold)
    kept[rows] = (targets[rows].any(1) | ~training_set.targets[rows].any(1)).numpy()  # negatives stay
    unlabelled = training_set.unlabelled[rows]
    targets[rows[unlabelled]] = scores[unlabelled].to(targets.dtype)
    return replace(training_set, targets=targets, kept=kept, before_relabelling=training_set)


def relabel_targets(targets: Tensor, scores: Tensor, keep_threshold: float, add_threshold: float) -> Tensor:
    """Targets [n, n_labels] without labels that score below `keep_threshold`, with all from `add_threshold` on."""
    return ((targets >= 0.5) & (scores >= keep_threshold) | (scores >= add_threshold)).to(targets.dtype)


def describe_relabelling(before: TrainingSet, after: TrainingSet, fold: int) -> str:
    """How many noisy clips a teacher left unchanged, relabelled and left out, and how many it gave its scores."""
    others = before.noisy.numpy() & (before.folds != fold)
    rows, n_unlabelled = others & ~before.unlabelled, int((others & before.unlabelled).sum())
    kept = rows & after.kept
    n_unchanged = int((before.targets == after.targets).all(1).numpy()[kept].sum())
    parts = []
    if rows.any():
        parts.append(
            f"keeps {n_unchanged} of {rows.sum()} noisy clips as they are, relabels {kept.sum() - n_unchanged} and "
            f"leaves out {rows.sum() - kept.sum()}"
        )
    if n_unlabelled:
        parts.append(f"gives {n_unlabelled} clips without labels its scores")
    return f"fold{fold} the teacher " + ", and ".join(parts or ["has no clips to judge"])
