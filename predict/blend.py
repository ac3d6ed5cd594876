"""SCRIPT make blend: the submissions of several runs become one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.entrypoint import run_script
from core.errors import UserError
from predict.decide.blend_weights import BLEND_FUNCTIONS, blend_tables, equal_weights
from predict.output.align_tables import align_tables, join_truth, write_blend
from predict.output.ground_truth import warn_if_stale
from predict.output.submission import check_run_name_free, read_submission
from recipe.cli import Command, parse_command
from train.evaluate.score_table import ScoreTable, read_scores


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", nargs="+", required=True, help="Names of runs that have been predicted.")
    parser.add_argument("--by", choices=list(BLEND_FUNCTIONS), default="mean", help="What becomes of a score a run.")
    parser.add_argument("--fit", action="store_true", help="Weigh runs by what is best on their out-of-fold scores.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Blend the submissions of several runs.", add_options)
    runs, by, run_paths = command.options.runs, command.options.by, command.run_paths
    check_run_name_free(run_paths.run_dir, runs)
    paths = [run_paths.submissions / f"{run}.csv" for run in runs]
    tables = align_tables(runs, [read_submission(path) for path in paths])
    for run, path in zip(runs, paths, strict=True):
        warn_if_stale(run_paths.dataset_dir / "runs" / run, path)
    weights = fit_run_weights(command, runs, by) if command.options.fit else equal_weights(len(runs))
    for run, weight in zip(runs, weights, strict=True):
        print(f"{weight:.3f}  {run}")
    blended = ScoreTable(
        tables[0].clips, tables[0].labels, blend_tables([table.values for table in tables], by, weights)
    )
    write_blend(run_paths, blended)


def fit_run_weights(command: Command, runs: Sequence[str], by: str) -> np.ndarray:
    """Weights [n_runs] fitted on the runs' out-of-fold scores of curated clips, and what they bring there."""
    paths = [command.run_paths.dataset_dir / "runs" / run / "oof.csv" for run in runs]
    tables = align_tables(runs, [read_out_of_fold(path) for path in paths])
    oof_tables = join_truth(tables, command.run_paths.clips_csv, paths[0])
    weights = oof_tables.weights(by)
    oof_tables.print_metrics(
        [
            *zip(runs, oof_tables.scores, strict=True),
            ("equal weights", blend_tables(oof_tables.scores, by, equal_weights(len(runs)))),
            ("fitted weights, each fold by those of the others", oof_tables.blend(by)),
        ]
    )
    return weights


def read_out_of_fold(path: Path) -> ScoreTable:
    """A run's out-of-fold scores."""
    if not path.exists():
        raise UserError(f"{path} is not there: run make train to its end, or leave --fit out")
    return read_scores(path)


if __name__ == "__main__":
    run_script(main)
