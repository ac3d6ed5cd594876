r"""SCRIPT What each way with noisy labels brings to out-of-fold curated clips, a run an experiment and seed.

    python -m benchmarks.noisy_labels --data path/to/fsdkaggle2019_mini --views teacher_both
    python -m benchmarks.noisy_labels --data path/to/fsdkaggle2019_mini --seeds [0,1,2] \
        --experiments curated naive teacher

A small network, 64 mels and as many batches of 16 a fold (about 24 for each of `--epochs`) in all experiments, so that
none learns longer than another; only `finetuned` adds half as many to those of `naive`. Each keeps its last epoch.
A run that is finished is not trained again.
"""

from core.entrypoint import run_script

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from benchmarks.machine import describe_machine
from core.csv_tables import read_table, write_table
from core.paths import RunPaths
from predict.inference.dataset_clips import predict_stored_clips
from predict.inference.run_loader import load_run
from preprocess.dataset.clip_table import read_clip_table
from preprocess.dataset.labels import to_multi_hot
from preprocess.features import main as make_features
from preprocess.store.reader import open_store
from recipe.cli import parse_command, parse_own_options
from train.evaluate.metrics import lwlrap, mean_average_precision
from train.evaluate.score_table import ScoreTable, read_scores
from train.fit import main as train
from train.runs.checkpoint import load_checkpoint, parse_checkpoint_recipe
from train.runs.run_folder import find_best_checkpoints

SMALL = (
    "--name noisy_labels --features.n_fft 2048 --features.hop_length 690 --features.n_bins 64 "
    "--training.batch_size 16 --training.crop_seconds 1.5 --training.progressive [0.5,1] --training.metric last "
    "--training.power_mix_probability 0 --training.time_mask_probability 0 --training.frequency_mask_probability 0 "
    "--network.modulation_units 0 --training.seeds 1 --training.warmup 0.3 --training.ema_decay 0 "
    "--training.noisy_share 1 --training.bootstrap_beta 1 "
    "--prediction.window_seconds 1.5 --prediction.hop_seconds 0.75"
)
NOISY = "--training.noisy_rate 1 --training.epochs {epochs}"
CURATED = "--training.noisy_rate 0 --training.epochs {twice}"
RELABELLED = f"{NOISY} --training.teacher {{runs}}/curated{{suffix}}"
MIXED = "--training.power_mix_probability 0.5 --training.power_mix_clips 2"
MASKED = "--training.time_mask_probability 0.5 --training.time_mask_share 0.1 --training.frequency_mask_probability 0.5"
EXPERIMENTS = {
    "curated": CURATED,
    "naive": NOISY,
    "bootstrap": f"{NOISY} --training.bootstrap_beta 0.7",
    "fewer": "--training.noisy_rate 0.5 --training.noisy_weight 0.5 --training.epochs {third_more}",
    "corrections": f"{NOISY} --training.corrections {{runs}}/curated{{suffix}}/noisy_corrections.csv",
    "finetuned": "--training.noisy_rate 0 --training.epochs {epochs} --training.max_lr 5e-4 "
    "--training.start_from {runs}/naive{suffix}",
    "teacher": RELABELLED,
    "teacher_bootstrap": f"{RELABELLED} --training.bootstrap_beta 0.7",
    "teacher_mixing": f"{RELABELLED} {MIXED}",
    "teacher_masks": f"{RELABELLED} {MASKED}",
    "curated_both": f"{CURATED} {MIXED} {MASKED}",
    "bootstrap_both": f"{NOISY} --training.bootstrap_beta 0.7 {MIXED} {MASKED}",
    "teacher_both": f"{NOISY} --training.teacher {{runs}}/curated_both{{suffix}} {MIXED} {MASKED}",
}
"""Options of each beside SMALL; `{runs}/<experiment>{suffix}` is an earlier one's run, as long and of the same seed."""
RESAMPLINGS = 500
RankingMetrics = tuple[float, float]
"""lwlrap and mAP."""
VIEWS: dict[str, dict[str, Any]] = {
    "shifts of 0.2 s": {"view_shifts_s": [-0.2, 0.2]},
    "gains of 6 dB": {"view_gains_db": [-6.0, 6.0]},
}
"""Test-time augmentation, by what of `prediction` it sets."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    base = ["--recipe", options.recipe, *SMALL.split(), "--cache", options.cache, "--jobs", str(options.jobs)]
    common = [*base, *(["--data.folder", options.data] if options.data else [])]
    run_paths = parse_command(base[:-2], "").run_paths
    print(describe_machine(torch.device("cpu")))
    make_features(common)
    scores_by_experiment: dict[str, list[ScoreTable]] = {}
    for seed, name in itertools.product(options.seeds, options.experiments):
        scores = train_experiment(common, run_paths, name, seed, options.epochs)
        scores_by_experiment.setdefault(name, []).append(scores)
        print(f"{name} seed {seed}: {format_metrics(compute_ranking_metrics(run_paths, scores))}", flush=True)
    blends = [average_seeds(by_seed) for by_seed in scores_by_experiment.values()]
    for (name, by_seed), blended in zip(scores_by_experiment.items(), blends, strict=True):
        metrics_by_seed = [compute_ranking_metrics(run_paths, one) for one in by_seed]
        print(format_experiment(name, metrics_by_seed, compute_ranking_metrics(run_paths, blended)))
        if blended is not blends[0]:
            print(f"{'':<18} beyond the first, together: {format_gain(run_paths, blends[0], blended)}")
    for run in [f"{options.views}{run_name_suffix(seed, options.epochs)}" for seed in options.seeds if options.views]:
        for views, metrics in score_with_tta(run_paths, run).items():
            print(f"{run} scored with {views}: {format_metrics(metrics)}")


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What each way with noisy labels brings.", exit_on_error=False)
    parser.add_argument("--recipe", type=str, default="recipes/fsdkaggle2019.yaml", help="Whose keys SMALL changes.")
    parser.add_argument("--data", type=str | None, help="The dataset's folder; by default the recipe's.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument(
        "--epochs", type=PositiveInt, default=52, help="Of experiments with as many noisy clips as curated."
    )
    parser.add_argument(
        "--experiments", nargs="*", choices=list(EXPERIMENTS), default=list(EXPERIMENTS), help="Some, in order."
    )
    parser.add_argument(
        "--seeds", type=list[NonNegativeInt], default=[0, 10, 20], help="Seeds of an experiment's networks."
    )
    parser.add_argument(
        "--views", choices=list(EXPERIMENTS), help="Experiment whose runs are scored with several views as well."
    )
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    return parse_own_options(parser, arguments)


def train_experiment(common: Sequence[str], run_paths: RunPaths, name: str, seed: int, epochs: int) -> ScoreTable:
    """Train an experiment's run, unless it is there, and return its out-of-fold scores."""
    runs, suffix = run_paths.dataset_dir / "runs", run_name_suffix(seed, epochs)
    run_dir = runs / f"{name}{suffix}"
    if not (run_dir / "oof.csv").exists():
        if name == "corrections":
            write_corrections(runs / f"curated{suffix}")
        lengths = {"epochs": epochs, "twice": 2 * epochs, "third_more": round(4 / 3 * epochs)}
        options = EXPERIMENTS[name].format(runs=runs, suffix=suffix, **lengths).split()
        train([*common, "--run", run_dir.name, "--training.seed", str(seed), *options])
    return read_scores(run_dir / "oof.csv")


def run_name_suffix(seed: int, epochs: int) -> str:
    """What a run's name has behind its experiment's."""
    return f"_{epochs}epochs_seed{seed}"


def write_corrections(run_dir: Path) -> None:
    """Of a run's label issues the noisy ones: curated labels are not touched."""
    rows = read_table(run_dir / "label_issues.csv", ["clip", "labels", "label_quality"])
    noisy = rows.loc[rows["label_quality"] == "noisy", ["clip", "labels"]]
    write_table(run_dir / "noisy_corrections.csv", ["clip", "labels"], noisy.itertuples(index=False, name=None))


def compute_ranking_metrics(run_paths: RunPaths, scores: ScoreTable) -> RankingMetrics:
    """The figures of the curated clips among `scores`."""
    truth, theirs = select_curated(run_paths, scores)
    return lwlrap(truth, theirs), mean_average_precision(truth, theirs)


def select_curated(run_paths: RunPaths, scores: ScoreTable) -> tuple[Tensor, Tensor]:
    """Truth and scores [n_curated, n_labels], in the order of the table of clips."""
    table = read_clip_table(run_paths.clips_csv)
    curated = table[(table["split"] == "train") & (table["label_quality"] == "curated")]
    rows = {clip: row for row, clip in enumerate(scores.clips)}
    truth = torch.from_numpy(to_multi_hot(curated["labels"], scores.labels, clips=curated["clip"]))
    return truth, torch.from_numpy(scores.values[[rows[clip] for clip in curated["clip"]]])


def format_gain(run_paths: RunPaths, first: ScoreTable, other: ScoreTable) -> str:
    """How much better the other is, and between what the middle 90 % of RESAMPLINGS of the clips have it."""
    truth, mine = select_curated(run_paths, first)
    theirs = select_curated(run_paths, other)[1]
    generator, parts = torch.Generator().manual_seed(0), []
    resamples = [torch.randint(len(truth), (len(truth),), generator=generator) for _ in range(RESAMPLINGS)]
    for name, metric in (("lwlrap", lwlrap), ("mAP", mean_average_precision)):
        gains = [metric(truth[rows], theirs[rows]) - metric(truth[rows], mine[rows]) for rows in resamples]
        low, high = np.quantile(gains, [0.05, 0.95])
        parts.append(f"{name} {metric(truth, theirs) - metric(truth, mine):+.4f} ({low:+.4f} to {high:+.4f})")
    return ", ".join(parts)


def average_seeds(scores: Sequence[ScoreTable]) -> ScoreTable:
    """The mean of several seeds' networks."""
    return replace(scores[0], values=np.mean([one.values for one in scores], axis=0))


def score_with_tta(run_paths: RunPaths, run_name: str) -> dict[str, RankingMetrics]:
    """The figures of a run by each of VIEWS, curated clips scored by the networks that never saw their fold."""
    table = read_clip_table(run_paths.clips_csv)
    curated = table[(table["split"] == "train") & (table["label_quality"] == "curated")]
    run_dir, metrics = run_paths.dataset_dir / "runs" / run_name, {}
    best = find_best_checkpoints(run_dir)[0]
    base_prediction = parse_checkpoint_recipe(best, load_checkpoint(best)).prediction
    for name, views in {"as it is": {}, **VIEWS}.items():
        run = load_run(run_dir, replace(base_prediction, **views))
        with open_store(run_paths.store, run.recipe.features) as store:
            clip_predictions = predict_stored_clips(curated, run, store, torch.device("cpu"))
        values = np.stack([clip_prediction.scores for clip_prediction in clip_predictions.values()])
        metrics[name] = compute_ranking_metrics(run_paths, ScoreTable(list(clip_predictions), run.labels, values))
    return metrics


def format_metrics(metrics: RankingMetrics) -> str:
    return f"lwlrap {metrics[0]:.4f}, mAP {metrics[1]:.4f}"


def format_experiment(name: str, metrics_by_seed: Sequence[RankingMetrics], blended: RankingMetrics) -> str:
    """A line: the mean and the spread of an experiment's figures over seeds, and those of all seeds together."""
    parts = []
    for metric, values, together in zip(("lwlrap", "mAP"), zip(*metrics_by_seed, strict=True), blended, strict=True):
        mean = statistics.mean(values)
        parts.append(f"{metric} {mean:.4f} ({min(values):.4f} to {max(values):.4f}, together {together:.4f})")
    return f"{name:<18} {', '.join(parts)}"


if __name__ == "__main__":
    run_script(main)
