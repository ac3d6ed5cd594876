"""SCRIPT make blend: the submissions of several runs become one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser

from command import Command, read_command
from errors import BadInput
from predict.joining import blend_across_folds, match_tables
from predict.submission import check_name_is_free, read_sample, read_submission, write_submission
from predict.truth import match_rows, out_of_fold_truth, warn_of_doubt
from predict.weighted import WAYS, blend_tables, fit_weights
from preprocess.clips import read_clips
from script import run_script
from train.metrics import lwlrap, mean_average_precision
from train.scores import Scores, read_scores


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", nargs="+", required=True, help="Names of runs that have been predicted.")
    parser.add_argument("--by", choices=list(WAYS), default="mean", help="What becomes of a score a run.")
    parser.add_argument("--fit", action="store_true", help="Weigh runs by what is best on their out-of-fold scores.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Blend the submissions of several runs.", add_options)
    runs, by, places = command.options.runs, command.options.by, command.places
    check_name_is_free(places.run_home, runs)
    paths = [places.submissions / f"{run}.csv" for run in runs]
    tables = match_tables(runs, [read_submission(path) for path in paths])
    for run, path in zip(runs, paths, strict=True):
        warn_of_doubt(places.home / "runs" / run, path)
    weights = np.full(len(runs), 1 / len(runs))
    if command.options.fit:
        weights = weigh(command, runs, by)
    for run, weight in zip(runs, weights, strict=True):
        print(f"{weight:.3f}  {run}")
    blended = Scores(tables[0].clips, tables[0].labels, blend_tables([table.values for table in tables], by, weights))
    sample = read_sample(places.sample_csv)
    write_submission(places.submission(), blended, sample if sample and sample.clips == blended.clips else None)
    print(f"{len(blended.clips)} clips, {len(blended.labels)} labels: {places.submission()}")


def weigh(command: Command, runs: Sequence[str], by: str) -> np.ndarray:
    """Weights [n_runs] fitted on the runs' out-of-fold scores of curated clips, and what they bring there."""
    homes = [command.places.home / "runs" / run for run in runs]
    tables = match_tables(runs, [read_out_of_fold(home / "oof.csv") for home in homes])
    clips_csv = command.places.clips_csv
    truth = out_of_fold_truth(clips_csv, homes[0] / "oof.csv", tables[0])
    if truth is None:
        raise BadInput(f"{clips_csv} has no labels of the out-of-fold clips: leave --fit out")
    scores = [match_rows(truth, table) for table in tables]
    weights = fit_weights(scores, truth.values, by)
    present = torch.from_numpy(truth.values)
    print(f"out of fold, {len(truth.clips)} clips:")
    folds = read_clips(clips_csv).set_index("clip").loc[truth.clips, "fold"].to_numpy()
    equal = np.full(len(runs), 1 / len(runs))
    for name, blended in [
        *zip(runs, scores, strict=True),
        ("equal weights", blend_tables(scores, by, equal)),
        ("fitted weights, each fold by those of the others", blend_across_folds(scores, truth.values, folds, by)),
    ]:
        values = torch.from_numpy(blended)
        print(f"  lwlrap {lwlrap(present, values):.4f}  mAP {mean_average_precision(present, values):.4f}  {name}")
    return weights


def read_out_of_fold(path: Path) -> Scores:
    """A run's out-of-fold scores."""
    if not path.exists():
        raise BadInput(f"{path} is not there: run make train to its end, or leave --fit out")
    return read_scores(path)


if __name__ == "__main__":
    run_script(main)
