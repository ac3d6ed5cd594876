r"""SCRIPT What each way with noisy labels brings to out-of-fold curated clips, a run a step and seed.

    python -m benchmarks.noisy_labels --data path/to/fsdkaggle2019_mini --views teacher_both
    python -m benchmarks.noisy_labels --data path/to/fsdkaggle2019_mini --steps curated naive teacher --seeds [0,1,2]

A small network, 64 mels and as many batches of 16 a fold (about 24 for each of `--epochs`) in all steps, so that none
learns longer than another; only `finetuned` adds half as many to those of `naive`. Each keeps its last epoch.
A run that is finished is not trained again.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from benchmarks.machine import describe_machine
from core.csv_tables import read_table, write_table
from core.entrypoint import run_script
from core.errors import BadInput
from core.paths import Places
from predict.inference.dataset_clips import answer_clips
from predict.inference.tagger import load_run
from preprocess.dataset.clip_table import read_clips
from preprocess.dataset.labels import encode
from preprocess.features import main as make_features
from preprocess.store.reader import open_store
from recipe.cli import read_command
from train.evaluate.metrics import lwlrap, mean_average_precision
from train.evaluate.score_table import Scores, read_scores
from train.fit import main as train
from train.runs.checkpoint import load_checkpoint, recipe_of
from train.runs.run_folder import best_paths

SMALL = (
    "--name noisy_labels --features.n_fft 2048 --features.hop_samples 690 --features.n_bins 64 "
    "--training.batch_size 16 --training.crop_seconds 1.5 --training.progressive [0.5,1] --training.metric last "
    "--training.power_mix_probability 0 --training.time_mask_probability 0 --training.frequency_mask_probability 0 "
    "--prediction.window_seconds 1.5 --prediction.hop_seconds 0.75"
)
NOISY = "--training.noisy_rate 1 --training.epochs {epochs}"
CURATED = "--training.noisy_rate 0 --training.epochs {twice}"
TAUGHT = f"{NOISY} --training.teacher {{runs}}/curated{{tag}}"
MIXED = "--training.power_mix_probability 0.5 --training.power_mix_clips 2"
HIDDEN = "--training.time_mask_probability 0.5 --training.time_mask_share 0.1 --training.frequency_mask_probability 0.5"
STEPS = {
    "curated": CURATED,
    "naive": NOISY,
    "bootstrap": f"{NOISY} --training.bootstrap_beta 0.7",
    "fewer": "--training.noisy_rate 0.5 --training.noisy_weight 0.5 --training.epochs {third_more}",
    "corrections": f"{NOISY} --training.corrections {{runs}}/curated{{tag}}/noisy_corrections.csv",
    "finetuned": "--training.noisy_rate 0 --training.epochs {epochs} --training.max_lr 5e-4 "
    "--training.start_from {runs}/naive{tag}",
    "teacher": TAUGHT,
    "teacher_bootstrap": f"{TAUGHT} --training.bootstrap_beta 0.7",
    "teacher_mixing": f"{TAUGHT} {MIXED}",
    "teacher_masks": f"{TAUGHT} {HIDDEN}",
    "curated_both": f"{CURATED} {MIXED} {HIDDEN}",
    "bootstrap_both": f"{NOISY} --training.bootstrap_beta 0.7 {MIXED} {HIDDEN}",
    "teacher_both": f"{NOISY} --training.teacher {{runs}}/curated_both{{tag}} {MIXED} {HIDDEN}",
}
"""Options of each step beside SMALL; `{runs}/<step>{tag}` is an earlier step's run, as long and of the same seed."""
RESAMPLINGS = 500
Figures = tuple[float, float]
"""lwlrap and mAP."""
VIEWS: dict[str, dict[str, Any]] = {
    "shifts of 0.2 s": {"view_shifts_s": [-0.2, 0.2]},
    "gains of 6 dB": {"view_gains_db": [-6.0, 6.0]},
    "windows of 1 and 2.5 s": {"view_windows_s": [1.0, 2.5]},
}
"""Test-time augmentation, by what of `prediction` it sets."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    base = ["--recipe", options.recipe, *SMALL.split(), "--cache", options.cache, "--jobs", str(options.jobs)]
    common = [*base, *(["--data.folder", options.data] if options.data else [])]
    places = read_command(base[:-2], "").places
    print(describe_machine(torch.device("cpu")))
    make_features(common)
    reached: dict[str, list[Scores]] = {}
    for seed, step in itertools.product(options.seeds, options.steps):
        reached.setdefault(step, []).append(learn(common, places, step, seed, options.epochs))
        print(f"{step} seed {seed}: {in_words(measure(places, reached[step][-1]))}", flush=True)
    blends = [together(scores) for scores in reached.values()]
    for (step, scores), blended in zip(reached.items(), blends, strict=True):
        print(describe(step, [measure(places, one) for one in scores], measure(places, blended)))
        if blended is not blends[0]:
            print(f"{'':<18} beyond the first, together: {describe_gain(places, blends[0], blended)}")
    for run in [f"{options.views}{tag_of(seed, options.epochs)}" for seed in options.seeds if options.views]:
        print(*(f"{run} heard {name}: {in_words(figures)}" for name, figures in hear(places, run).items()), sep="\n")


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What each way with noisy labels brings.", exit_on_error=False)
    parser.add_argument("--recipe", type=str, default="recipes/fsdkaggle2019.yaml", help="Whose keys SMALL changes.")
    parser.add_argument("--data", type=str | None, help="The dataset's folder; by default the recipe's.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--epochs", type=PositiveInt, default=52, help="Of steps with as many noisy clips as curated.")
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS), help="Steps, in order.")
    parser.add_argument("--seeds", type=list[NonNegativeInt], default=[0, 10, 20], help="Seeds of a step's networks.")
    parser.add_argument("--views", choices=list(STEPS), help="Step whose runs are heard in several views as well.")
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    try:
        return parser.parse_args(arguments)
    except ArgumentError as error:
        raise BadInput(f"{error}; see --help") from None


def learn(common: Sequence[str], places: Places, step: str, seed: int, epochs: int) -> Scores:
    """Train a step's run, unless it is there, and return its out-of-fold scores."""
    runs, tag = places.home / "runs", tag_of(seed, epochs)
    home = runs / f"{step}{tag}"
    if not (home / "oof.csv").exists():
        if step == "corrections":
            write_corrections(runs / f"curated{tag}")
        lengths = {"epochs": epochs, "twice": 2 * epochs, "third_more": round(4 / 3 * epochs)}
        options = STEPS[step].format(runs=runs, tag=tag, **lengths).split()
        train([*common, "--run", home.name, "--training.seed", str(seed), *options])
    return read_scores(home / "oof.csv")


def tag_of(seed: int, epochs: int) -> str:
    """What a run's name has behind its step's."""
    return f"_{epochs}epochs_seed{seed}"


def write_corrections(home: Path) -> None:
    """Of a run's suspicious clips the noisy ones: curated labels are not touched."""
    rows = read_table(home / "suspicious.csv", ["clip", "labels", "trust"])
    noisy = rows.loc[rows["trust"] == "noisy", ["clip", "labels"]]
    write_table(home / "noisy_corrections.csv", ["clip", "labels"], noisy.itertuples(index=False, name=None))


def measure(places: Places, scores: Scores) -> Figures:
    """The figures of the curated clips among `scores`."""
    truth, theirs = of_curated(places, scores)
    return lwlrap(truth, theirs), mean_average_precision(truth, theirs)


def of_curated(places: Places, scores: Scores) -> tuple[Tensor, Tensor]:
    """Truth and scores [n_curated, n_labels], in the order of the table of clips."""
    table = read_clips(places.clips_csv)
    curated = table[(table["split"] == "train") & (table["trust"] == "curated")]
    rows = {clip: row for row, clip in enumerate(scores.clips)}
    truth = torch.from_numpy(encode(curated["labels"], scores.labels, clips=curated["clip"]))
    return truth, torch.from_numpy(scores.values[[rows[clip] for clip in curated["clip"]]])


def describe_gain(places: Places, first: Scores, other: Scores) -> str:
    """How much better the other is, and between what the middle 90 % of RESAMPLINGS of the clips have it."""
    truth, mine = of_curated(places, first)
    theirs = of_curated(places, other)[1]
    generator, parts = torch.Generator().manual_seed(0), []
    drawn = [torch.randint(len(truth), (len(truth),), generator=generator) for _ in range(RESAMPLINGS)]
    for name, figure in (("lwlrap", lwlrap), ("mAP", mean_average_precision)):
        gains = [figure(truth[rows], theirs[rows]) - figure(truth[rows], mine[rows]) for rows in drawn]
        low, high = np.quantile(gains, [0.05, 0.95])
        parts.append(f"{name} {figure(truth, theirs) - figure(truth, mine):+.4f} ({low:+.4f} to {high:+.4f})")
    return ", ".join(parts)


def together(scores: Sequence[Scores]) -> Scores:
    """The mean of several seeds' networks."""
    return replace(scores[0], values=np.mean([one.values for one in scores], axis=0))


def hear(places: Places, run_name: str) -> dict[str, Figures]:
    """The figures of a run by each of VIEWS, curated clips answered by the networks that never saw their fold."""
    table = read_clips(places.clips_csv)
    curated = table[(table["split"] == "train") & (table["trust"] == "curated")]
    home, found = places.home / "runs" / run_name, {}
    best = best_paths(home)[0]
    plain = recipe_of(best, load_checkpoint(best)).prediction
    for name, views in {"as it is": {}, **VIEWS}.items():
        run = load_run(home, replace(plain, **views))
        with open_store(places.store, run.recipe.features) as store:
            answers = answer_clips(curated, run, store, torch.device("cpu"))
        values = np.stack([answer.scores for answer in answers.values()])
        found[name] = measure(places, Scores(list(answers), run.labels, values))
    return found


def in_words(figures: Figures) -> str:
    return f"lwlrap {figures[0]:.4f}, mAP {figures[1]:.4f}"


def describe(step: str, reached: Sequence[Figures], blended: Figures) -> str:
    """A line: the mean and the spread of a step's figures over seeds, and those of all seeds' networks together."""
    parts = []
    for name, values, whole in zip(("lwlrap", "mAP"), zip(*reached, strict=True), blended, strict=True):
        mean = statistics.mean(values)
        parts.append(f"{name} {mean:.4f} ({min(values):.4f} to {max(values):.4f}, together {whole:.4f})")
    return f"{step:<18} {', '.join(parts)}"


if __name__ == "__main__":
    run_script(main)
