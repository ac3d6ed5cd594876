"""SCRIPT make baselines: out-of-fold scores of simple models on simple inputs."""

from core.entrypoint import get_logger, run_script

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from matplotlib.figure import Figure

from core.csv_tables import write_table
from core.errors import UserError
from core.files import atomic_write
from core.parallel import run_sandboxed
from core.progress import progress_bar
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits, read_each
from preprocess.dataset.labels import is_single_label, to_multi_hot
from preprocess.dataset.loader import read_dataset
from recipe import Recipe
from recipe.cli import parse_command, resolve_n_jobs
from train.classical.inputs import INPUT_SIZES, read_inputs
from train.classical.models import NEIGHBOURS, score_fold, vote_by_k
from train.data.corrected_clips import apply_corrections
from train.evaluate.metrics import accuracy, compute_metrics, lwlrap

COLUMNS = ("input", "model", "k", "score", "lowest_fold", "highest_fold", "lwlrap", "map", "accuracy")


@dataclass(frozen=True)
class BaselineDataset:
    """Clips with the inputs of simple models."""

    inputs: dict[str, np.ndarray]
    """[n_clips, n_values] float32 of each input."""
    multi_hot: np.ndarray
    """[n_clips, n_labels]"""
    folds: np.ndarray
    """[n_clips]"""

    @cached_property
    def metric(self) -> str:
        """The compared metric: accuracy where each clip has one label, otherwise lwlrap."""
        return "accuracy" if is_single_label(self.multi_hot) else "lwlrap"

    @cached_property
    def clips_by_fold(self) -> list[np.ndarray]:
        """Indices of each fold's clips."""
        return [np.flatnonzero(self.folds == fold) for fold in np.unique(self.folds)]

    def score(self, scores: np.ndarray, clips: np.ndarray | slice = slice(None)) -> float:
        """`metric` of scores [n_clips, n_labels] of some clips."""
        compare = accuracy if self.metric == "accuracy" else lwlrap
        return compare(torch.from_numpy(self.multi_hot[clips]), torch.from_numpy(scores))


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    parser.add_argument("--neighbours", type=PositiveInt, default=50, help="Largest k that is tried.")
    parser.add_argument("--clips", type=PositiveInt | None, help="Most clips, drawn by data.seed; by default all.")
    parser.add_argument("--clips_per_class", type=PositiveInt | None, help="The first so many of each label instead.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Score simple models on simple inputs.", add_options)
    recipe, dataset_dir, options = command.recipe, command.run_paths.dataset_dir, command.options
    n_jobs = resolve_n_jobs(options.jobs)
    if options.clips and options.clips_per_class:
        raise UserError("--clips draws from all clips, --clips_per_class takes the first of each label: give one")
    dataset = load_baseline_dataset(recipe, options, n_jobs)
    fewest_training_clips = len(dataset.folds) - max(map(len, dataset.clips_by_fold))
    results = evaluate(dataset, min(options.neighbours, fewest_training_clips), n_jobs)
    rows, curves = tabulate(dataset, results)
    print(pd.DataFrame(rows, columns=COLUMNS).dropna(axis=1, how="all").to_string(index=False, float_format="%.3f"))
    print(f"score: {dataset.metric} of all clips out of fold; k of a fold's clips is what serves the others best")
    table_path, plot_path = dataset_dir / "baselines.csv", dataset_dir / "baselines.png"
    write_table(table_path, COLUMNS, [["" if value is None else value for value in row] for row in rows])
    with atomic_write(plot_path) as temporary:
        plot_score_over_k(curves, rows, dataset.metric).savefig(temporary, format="png", dpi=120)
    print(f"{table_path}: this table; {plot_path}: {dataset.metric} over k")


def load_baseline_dataset(recipe: Recipe, options: Namespace, n_jobs: int) -> BaselineDataset:
    """Read the curated training clips' inputs. Raises UserError where too few can be read."""
    dataset = read_dataset(recipe.data)
    table = apply_corrections(dataset.table, recipe.training.corrections, dataset.vocabulary).table
    table = table[(table["split"] == "train") & (table["label_quality"] == "curated")]
    if options.clips_per_class:
        table = table[first_of_each_label(to_multi_hot(table["labels"], dataset.vocabulary), options.clips_per_class)]
    elif options.clips and options.clips < len(table):
        chosen = np.random.default_rng(recipe.data.seed).choice(len(table), options.clips, replace=False)
        table = table.iloc[np.sort(chosen)]
    arguments = (recipe.features, recipe.training.crop_seconds)
    results = read_each(read_inputs, list(table["path"]), *arguments, n_jobs=n_jobs, limits=decoder_limits(recipe.data))
    inputs: dict[int, dict[str, np.ndarray]] = {}
    with closing(results), progress_bar(len(table), "inputs", "clip") as bar:
        for row, result in results:
            bar.update()
            if isinstance(result, DecodeError):
                get_logger().warning(f"{table['clip'].iloc[row]} is left out: {result.reason}")
            else:
                inputs[row] = result
    rows = sorted(inputs)
    table = table.iloc[rows]
    folds = table["fold"].to_numpy()
    n_folds = len(np.unique(folds))
    if n_folds < 2:
        raise UserError(f"the {len(table)} clips that could be read are of fewer than two folds: give more, or --clips")
    print(f"{len(table)} clips, {len(dataset.vocabulary)} labels, {n_folds} folds")
    stacked = {name: np.stack([inputs[row][name] for row in rows]) for name in INPUT_SIZES}
    return BaselineDataset(stacked, to_multi_hot(table["labels"], dataset.vocabulary), folds)


def first_of_each_label(multi_hot: np.ndarray, n_clips: int) -> np.ndarray:
    """Which of the clips of `multi_hot` [n_all, n_labels] are among the first `n_clips` of one of their labels."""
    present = multi_hot > 0
    return np.asarray((present & (present.cumsum(0) <= n_clips)).any(1))


def evaluate(dataset: BaselineDataset, max_k: int, n_jobs: int) -> dict[tuple[str, str], np.ndarray]:
    """Out of fold, by input and model: scores [n_clips, n_labels], or indices of neighbours [n_clips, max_k]."""
    keys = [(name, fold) for name in dataset.inputs for fold in np.unique(dataset.folds).tolist()]
    tasks = [(key, dataset.inputs[key[0]], dataset.multi_hot, dataset.folds == key[1], max_k) for key in keys]
    by_key: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    with progress_bar(len(tasks), "models", "fold") as bar, closing(run_sandboxed(score_fold, tasks, n_jobs)) as scored:
        for key, by_model in scored:
            by_key[key] = by_model
            bar.update()
    results: dict[tuple[str, str], np.ndarray] = {}
    for name, fold in keys:
        for model, values in by_key[name, fold].items():
            empty = np.empty((len(dataset.folds), values.shape[1]), values.dtype)
            results.setdefault((name, model), empty)[dataset.folds == fold] = values
    return results


def tabulate(
    dataset: BaselineDataset, results: dict[tuple[str, str], np.ndarray]
) -> tuple[list[tuple[Any, ...]], dict[str, list[float]]]:
    """Rows of COLUMNS, and the score over k of each input."""
    rows: list[tuple[Any, ...]] = []
    curves: dict[str, list[float]] = {}
    for (name, model), scores in results.items():
        k: str | None = None
        if model == NEIGHBOURS:
            scores, k, curves[name] = choose_k(dataset, vote_by_k(dataset.multi_hot, scores))
        metrics = compute_metrics(torch.from_numpy(dataset.multi_hot), torch.from_numpy(scores))
        by_fold = [dataset.score(scores[clips], clips) for clips in dataset.clips_by_fold]
        last = (metrics.get(column) for column in COLUMNS[-3:])
        rows.append((name, model, k, metrics[dataset.metric], min(by_fold), max(by_fold), *last))
    return rows, curves


def choose_k(dataset: BaselineDataset, by_k: Iterable[np.ndarray]) -> tuple[np.ndarray, str, list[float]]:
    """Each fold's scores by the k that is best for the clips of the other folds, so that no clip chooses its own.

    `by_k` are scores [n_clips, n_labels] of each k from 1. Also returns the chosen ks, and the score of all clips by k.
    """
    folds, curve = dataset.clips_by_fold, []
    chosen, ks, highest = np.empty(dataset.multi_hot.shape), [0] * len(folds), [-np.inf] * len(folds)
    for k, scores in enumerate(by_k, start=1):
        curve.append(dataset.score(scores))
        for number, clips in enumerate(folds):
            others = np.setdiff1d(np.arange(len(dataset.folds)), clips)
            score = dataset.score(scores[others], others)
            if k == 1 or score > highest[number]:
                ks[number], highest[number], chosen[clips] = k, score, scores[clips]
    return chosen, " ".join(map(str, sorted(set(ks)))), curve


def plot_score_over_k(curves: dict[str, list[float]], rows: Sequence[tuple[Any, ...]], metric: str) -> Figure:
    """The score of k nearest neighbours over k, a line an input; its other models as dashes and dots."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = {"nearest centroid": ":", "logistic regression": "--"}
    colors = {name: f"C{number}" for number, name in enumerate(curves)}
    for name, curve in curves.items():
        axes.plot(range(1, len(curve) + 1), curve, color=colors[name], label=name)
    for name, model, _, score, *_ in rows:
        if model in styles:
            axes.axhline(score, color=colors[name], linestyle=styles[model], linewidth=1, alpha=0.6)
    for model, style in styles.items():
        axes.plot([], [], color="0.5", linestyle=style, linewidth=1, label=model)
    axes.set(xlabel="k nearest neighbours", ylabel=f"{metric}, out of fold", ylim=(0, 1))
    axes.legend(fontsize="small", ncols=2)
    return figure


if __name__ == "__main__":
    run_script(main)
