"""SCRIPT What each augmentation of a recipe brings: its networks without one at a time, on mixtures of held-out clips.

    make features RECIPE=irmas DATA=path/to/folder
    python -m benchmarks.augmentations --recipe recipes/irmas.yaml --epochs 40 --folds 0,1

Clips of one label each say nothing of how several are told apart at once, so mixtures of one to `--max_labels` labels
are made (predict/inference/synthetic_mixtures.py). A run that is finished is not trained again.
"""

from core.entrypoint import run_script

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from benchmarks.machine import describe_machine
from core.device import pick_device
from core.errors import UserError
from core.paths import RunPaths
from predict.decide.threshold_search import compute_metric, search_with_window_threshold
from predict.inference.oof_predictions import predict_mixtures
from predict.inference.run_loader import load_run
from predict.tune import pool_at_thresholds
from recipe import Recipe, Training
from recipe.bounds import Bounds
from recipe.cli import parse_command, parse_own_options
from train.augment.pipeline import AUGMENTATION_ORDER
from train.evaluate.metrics import mean_average_precision
from train.fit import main as train

INTERMITTENT_PROBABILITY = 0.5
"""Of the further clips of a mixture come and go."""
BOUNDS = {"max_labels": Bounds(2, 5), "max_attenuation_db": Bounds(0, 60)}
"""Of what is asked for after training: those of `training.power_mix_clips` and `power_mix_db`."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    base = ["--recipe", options.recipe, "--cache", options.cache]
    command = parse_command(base, "")
    print(describe_machine(torch.device("cpu")))
    train_arguments = ["--training.epochs", str(options.epochs), "--folds", options.folds, "--jobs", str(options.jobs)]
    for name in ["", *augmentations(command.recipe.training)]:
        step = f"without_{name}" if name else "all_augmentations"
        run_name = f"{step}_{options.epochs}epochs"
        run_paths = replace(command.run_paths, run=run_name)
        disable_argument = [f"--training.{name}_probability", "0"] if name else []
        train([*base, *train_arguments, "--run", run_name, *disable_argument])
        m_ap, f1 = score(run_paths, command.recipe, options)
        print(f"{step:<28} mAP {m_ap:.4f}  macro F1 {f1:.4f}", flush=True)


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What each augmentation of a recipe brings.", exit_on_error=False)
    parser.add_argument("--recipe", type=str, default="recipes/irmas.yaml", help="Whose augmentations.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--epochs", type=PositiveInt, default=40, help="Of each network.")
    parser.add_argument("--folds", type=str, default="0", help="Folds to train, as 0,1.")
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    parser.add_argument("--mixtures", type=PositiveInt, default=300, help="To mix from held-out clips.")
    parser.add_argument("--max_labels", type=int, default=5, help="Of a mixture.")
    parser.add_argument(
        "--max_attenuation_db",
        type=float,
        default=8.0,
        help="Further clips are quieter than the first by at most this.",
    )
    options = parse_own_options(parser, arguments)
    for name, bounds in BOUNDS.items():
        if not bounds.low <= options[name] <= bounds.high:
            raise UserError(f"--{name} {options[name]:g}: must be {bounds}")
    return options


def augmentations(training: Training) -> list[str]:
    """Those that a recipe uses, by what stands before `_probability`."""
    return [name for name in chain(*AUGMENTATION_ORDER) if getattr(training, f"{name}_probability") > 0]


def score(run_paths: RunPaths, recipe: Recipe, options: Namespace) -> tuple[float, float]:
    """(mAP by the mean of windows, macro F1 as decided by the recipe, its thresholds tuned on these very mixtures)."""
    device = pick_device("cpu")
    tuning = replace(recipe.tuning, mixtures=options.mixtures, intermittent_probability=INTERMITTENT_PROBABILITY)
    run = load_run(run_paths.run_dir, recipe.prediction, device)
    mixed = replace(run.recipe.training, power_mix_clips=options.max_labels, power_mix_db=options.max_attenuation_db)
    run = replace(run, recipe=replace(run.recipe, training=mixed))
    out_of_fold = predict_mixtures(run_paths, run, device, 1, None, tuning)
    truth = torch.from_numpy(out_of_fold.truth)
    scores = out_of_fold.pool_scores(replace(recipe.prediction, pooling="mean"))
    scores_at = pool_at_thresholds(out_of_fold, recipe.prediction)
    at, thresholds = search_with_window_threshold(scores_at, out_of_fold.truth, "f1_macro", per_label=False)
    macro_f1 = compute_metric("f1_macro", out_of_fold.truth, scores_at[at] >= thresholds)
    return mean_average_precision(truth, torch.from_numpy(scores)), macro_f1


if __name__ == "__main__":
    run_script(main)
