"""SCRIPT make baselines: what simple models make of simple inputs, out of fold, before any network is trained."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from matplotlib.figure import Figure
from tqdm import tqdm

from core.csv_tables import write_table
from core.entrypoint import run_script
from core.errors import BadInput
from core.files import written_whole
from core.parallel import apart
from preprocess.dataset.labels import encode, is_single_label
from preprocess.dataset.loader import read_layout
from recipe import Recipe
from recipe.cli import count_jobs, read_command
from train.classical.inputs import SIZES, read_inputs
from train.classical.models import MODELS, nearest_neighbours, standardise, vote
from train.evaluate.metrics import accuracy, lwlrap, summarise

NEIGHBOURS = "nearest neighbours"
COLUMNS = ("input", "model", "k", "score", "lowest_fold", "highest_fold", "lwlrap", "map", "accuracy")


@dataclass(frozen=True)
class Study:
    """Clips as simple models see them."""

    inputs: dict[str, np.ndarray]
    """[n_clips, n_values] float32 of each input."""
    hot: np.ndarray
    """[n_clips, n_labels]"""
    folds: np.ndarray
    """[n_clips]"""

    @cached_property
    def metric(self) -> str:
        """What is compared: accuracy where each clip has one label, otherwise lwlrap."""
        return "accuracy" if is_single_label(torch.from_numpy(self.hot)) else "lwlrap"

    def figures(self, scores: np.ndarray, clips: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Every metric of scores [n_clips, n_labels] of some clips."""
        return summarise(torch.from_numpy(self.hot[clips]), torch.from_numpy(scores))

    def score(self, scores: np.ndarray, clips: np.ndarray | slice = slice(None)) -> float:
        """`metric` alone of scores [n_clips, n_labels] of some clips."""
        compare = accuracy if self.metric == "accuracy" else lwlrap
        return compare(torch.from_numpy(self.hot[clips]), torch.from_numpy(scores))


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    parser.add_argument("--neighbours", type=PositiveInt, default=50, help="Largest k that is tried.")
    parser.add_argument("--clips", type=PositiveInt | None, help="Most clips, drawn by data.seed; by default all.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Score simple models on simple inputs.", add_options)
    recipe, home, options = command.recipe, command.places.home, command.options
    n_jobs = count_jobs(options.jobs)
    study = load_study(recipe, options.clips, n_jobs)
    smallest = min(len(study.folds) - int(count) for count in np.unique(study.folds, return_counts=True)[1])
    results = evaluate(study, min(options.neighbours, smallest), n_jobs)
    rows, curves = tabulate(study, results)
    print(pd.DataFrame(rows, columns=COLUMNS).dropna(axis=1, how="all").to_string(index=False, float_format="%.3f"))
    print(f"score: {study.metric} of all clips out of fold; k of a fold's clips is what serves the others best")
    try:
        write_table(
            home / "baselines.csv", COLUMNS, [["" if value is None else value for value in row] for row in rows]
        )
        with written_whole(home / "baselines.png") as temporary:
            draw(curves, rows, study.metric).savefig(temporary, format="png", dpi=120)
    except OSError as error:
        raise BadInput(f"{home} cannot be written ({error.strerror}): make room, or name another --cache") from None
    print(f"{home / 'baselines.csv'}: this table; {home / 'baselines.png'}: {study.metric} over k")


def load_study(recipe: Recipe, most: int | None, n_jobs: int) -> Study:
    """Read the curated training clips' inputs. Raises BadInput where too few can be read."""
    layout = read_layout(recipe.data)
    table = layout.table[(layout.table["split"] == "train") & (layout.table["trust"] == "curated")]
    if most and most < len(table):
        chosen = np.random.default_rng(recipe.data.seed).choice(len(table), most, replace=False)
        table = table.iloc[np.sort(chosen)]
    inputs = {name: np.empty((len(table), size), np.float32) for name, size in SIZES.items()}
    read_one = partial(read_inputs, features=recipe.features, seconds=recipe.training.crop_seconds)
    work = apart(read_one, list(table["path"]), n_jobs)
    failed: list[int] = []
    for row, read in enumerate(tqdm(work, "inputs", len(table), unit="clip", disable=None)):
        if isinstance(read, str):
            failed.append(row)
            print(f"{table['clip'].iloc[row]} is left out: {read}", file=sys.stderr)
        else:
            for name, values in read.items():
                inputs[name][row] = values
    kept = np.setdiff1d(np.arange(len(table)), failed)
    folds = table["fold"].to_numpy()[kept]
    if len(np.unique(folds)) < 2:
        raise BadInput(f"the {len(kept)} clips that could be read are of fewer than two folds: give more, or --clips")
    hot = encode(table["labels"].iloc[kept], layout.vocabulary)
    print(f"{len(kept)} clips, {len(layout.vocabulary)} labels, {len(np.unique(folds))} folds")
    return Study({name: values[kept] for name, values in inputs.items()}, hot, folds)


def evaluate(study: Study, most: int, n_jobs: int) -> dict[tuple[str, str], np.ndarray]:
    """Out of fold, by input and model: scores [n_clips, n_labels]; of neighbours their rows [n_clips, most]."""
    parts = [(name, fold) for name in study.inputs for fold in np.unique(study.folds)]
    work = Parallel(n_jobs, return_as="generator")(
        delayed(_score_fold)(study.inputs[name], study.hot, study.folds == fold, most) for name, fold in parts
    )
    results: dict[tuple[str, str], np.ndarray] = {}
    for (name, fold), scored in zip(parts, tqdm(work, "models", len(parts), unit="fold", disable=None), strict=True):
        for model, values in scored.items():
            whole = results.setdefault((name, model), np.empty((len(study.folds), values.shape[1]), values.dtype))
            whole[study.folds == fold] = values
    return results


def _score_fold(x: np.ndarray, hot: np.ndarray, held_out: np.ndarray, most: int) -> dict[str, np.ndarray]:
    """What each model, having learnt from the other clips, makes of those held out, and which are nearest to them."""
    learnt, new = standardise(x[~held_out], x[held_out])
    scores = {name: model(learnt, hot[~held_out], new) for name, model in MODELS.items()}
    return scores | {NEIGHBOURS: np.flatnonzero(~held_out)[nearest_neighbours(learnt, new, most)]}


def tabulate(
    study: Study, results: dict[tuple[str, str], np.ndarray]
) -> tuple[list[tuple[object, ...]], dict[str, list[float]]]:
    """Rows of COLUMNS, and of each input the score over k."""
    rows: list[tuple[object, ...]] = []
    curves: dict[str, list[float]] = {}
    for (name, model), scores in results.items():
        k: str | None = None
        if model == NEIGHBOURS:
            scores, k, curves[name] = choose_k(study, vote(study.hot, scores))
        figures = study.figures(scores)
        by_fold = [study.score(scores[clips], clips) for clips in _clips_by_fold(study.folds)]
        score = figures[study.metric]
        rows.append((name, model, k, score, min(by_fold), max(by_fold), *(figures.get(key) for key in COLUMNS[-3:])))
    return rows, curves


def choose_k(study: Study, by_k: Iterable[np.ndarray]) -> tuple[np.ndarray, str, list[float]]:
    """Each fold's scores by the k that is best for the other folds' clips: no clip chooses its own.

    From scores [n_clips, n_labels] of each k from 1; also those ks, and the score of all clips over k.
    """
    folds, curve = _clips_by_fold(study.folds), []
    chosen, ks, highest = np.empty(study.hot.shape), [0] * len(folds), [-np.inf] * len(folds)
    for k, scores in enumerate(by_k, start=1):
        curve.append(study.score(scores))
        for number, clips in enumerate(folds):
            others = np.setdiff1d(np.arange(len(study.folds)), clips)
            score = study.score(scores[others], others)
            if k == 1 or score > highest[number]:
                ks[number], highest[number], chosen[clips] = k, score, scores[clips]
    return chosen, " ".join(map(str, sorted(set(ks)))), curve


def _clips_by_fold(folds: np.ndarray) -> list[np.ndarray]:
    """Of each fold, which clips it holds."""
    return [np.flatnonzero(folds == fold) for fold in np.unique(folds)]


def draw(curves: dict[str, list[float]], rows: Sequence[tuple[object, ...]], metric: str) -> Figure:
    """The score of k nearest neighbours over k, a line an input; its other models as dashes and dots."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = {"class average": ":", "logistic regression": "--"}
    for number, (name, curve) in enumerate(curves.items()):
        axes.plot(range(1, len(curve) + 1), curve, color=f"C{number}", label=name)
        for row in rows:
            if row[0] == name and str(row[1]) in styles:
                axes.axhline(
                    float(str(row[3])), color=f"C{number}", linestyle=styles[str(row[1])], linewidth=1, alpha=0.6
                )
    for model, style in styles.items():
        axes.plot([], [], color="0.5", linestyle=style, linewidth=1, label=model)
    axes.set(xlabel="k nearest neighbours", ylabel=f"{metric}, out of fold", ylim=(0, 1))
    axes.legend(fontsize="small", ncols=2)
    return figure


if __name__ == "__main__":
    run_script(main)
