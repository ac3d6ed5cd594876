"""The training of one fold, made ready as make train does, for steps that look into it."""

import torch

from core.paths import RunPaths
from recipe import Recipe
from train.data.training_set import load_training_set, parse_folds
from train.loop.fold_job import FoldJob
from train.loop.relabel import relabel_noisy_clips


def load_fold_job(
    recipe: Recipe, run_paths: RunPaths, device: torch.device, fold: int | None, seed: int | None = None
) -> FoldJob:
    """The job of a fold (None: the first) and a seed (None: the recipe's). Raises UserError."""
    training_set = load_training_set(recipe, run_paths, device)
    folds = training_set.fold_numbers()
    (fold,) = parse_folds(str(folds[0] if fold is None else fold), folds, "--fold")
    training_set = relabel_noisy_clips(training_set, recipe, fold, device)
    return FoldJob(
        recipe, training_set, fold, recipe.training.seed if seed is None else seed, run_paths.run_dir, device
    )
