"""SCRIPT What each augmentation of a recipe brings: its networks without one at a time, on pieces of held-out clips.

    make features RECIPE=irmas DATA=path/to/folder
    python -m benchmarks.augmentations --recipe recipes/irmas.yaml --epochs 40 --folds 0,1

Clips of one label each say nothing of how several are heard at once, so the pieces are mixed (predict/mixtures.py), one
to `--voices` labels. A run that is finished is not trained again.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from benchmarks.machine import describe_machine
from core.device import pick_device
from core.entrypoint import run_script
from core.errors import BadInput
from core.paths import Places
from predict.decide.threshold_search import measure, tune_together
from predict.inference.oof_predictions import answer_mixtures
from predict.inference.tagger import load_run
from predict.tune import pool
from recipe import Recipe, Training
from recipe.bounds import Between
from recipe.cli import read_command
from train.augment.pipeline import STEPS
from train.evaluate.metrics import mean_average_precision
from train.fit import main as train

ENTRIES = 0.5
"""Of the further voices come and go."""
BOUNDS = {"voices": Between(2, 5), "within_db": Between(0, 60)}
"""Of what is asked for after training: those of `training.power_mix_clips` and `power_mix_db`."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    base = ["--recipe", options.recipe, "--cache", options.cache]
    command = read_command(base, "")
    print(describe_machine(torch.device("cpu")))
    asked = ["--training.epochs", str(options.epochs), "--folds", options.folds, "--jobs", str(options.jobs)]
    for name in ["", *augmentations(command.recipe.training)]:
        step = f"without_{name}" if name else "all_augmentations"
        run_name = f"{step}_{options.epochs}epochs"
        places = replace(command.places, run=run_name)
        less = [f"--training.{name}_probability", "0"] if name else []
        train([*base, *asked, "--resume", "--run", run_name, *less])
        m_ap, f1 = score(places, command.recipe, options)
        print(f"{step:<28} mAP {m_ap:.4f}  macro F1 {f1:.4f}", flush=True)


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What each augmentation of a recipe brings.", exit_on_error=False)
    parser.add_argument("--recipe", type=str, default="recipes/irmas.yaml", help="Whose augmentations.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--epochs", type=PositiveInt, default=40, help="Of each network.")
    parser.add_argument("--folds", type=str, default="0", help="Folds to train, as 0,1.")
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    parser.add_argument("--pieces", type=PositiveInt, default=300, help="To mix from held-out clips.")
    parser.add_argument("--voices", type=int, default=5, help="At most, in a piece.")
    parser.add_argument(
        "--within_db", type=float, default=8.0, help="Voices are quieter than the first by at most this."
    )
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        raise BadInput(f"{error}; see --help") from None
    for name, bounds in BOUNDS.items():
        if not bounds.low <= options[name] <= bounds.high:
            raise BadInput(f"--{name} {options[name]:g}: must be {bounds}")
    return options


def augmentations(training: Training) -> list[str]:
    """Those that a recipe uses, by what stands before `_probability`."""
    return [name for name in chain(*STEPS) if getattr(training, f"{name}_probability") > 0]


def score(places: Places, recipe: Recipe, options: Namespace) -> tuple[float, float]:
    """(mAP by the mean of windows, macro F1 as decided by the recipe, its thresholds tuned on these very pieces)."""
    device, tuning = pick_device("cpu"), replace(recipe.tuning, mixtures=options.pieces, entries=ENTRIES)
    run = load_run(places.run_home, recipe.prediction, device)
    mixed = replace(run.recipe.training, power_mix_clips=options.voices, power_mix_db=options.within_db)
    run = replace(run, recipe=replace(run.recipe, training=mixed))
    heard = answer_mixtures(places, run, device, 1, tuning)
    truth, scores = torch.from_numpy(heard.truth), heard.pooled(replace(recipe.prediction, pooling="mean"))
    pooled = pool(heard, recipe.prediction)
    choice = tune_together(pooled, heard.truth, "f1_macro", per_label=False)
    decided = pooled[choice.window_threshold] >= choice.values
    return mean_average_precision(truth, torch.from_numpy(scores)), measure("f1_macro", heard.truth, decided)


if __name__ == "__main__":
    run_script(main)
