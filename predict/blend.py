"""SCRIPT make blend: the submissions of several runs become one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.entrypoint import run_script
from core.errors import BadInput
from predict.decide.blend_weights import WAYS, blend_tables, equal_weights
from predict.output.blending import match_tables, with_truth, write_blend
from predict.output.ground_truth import warn_of_doubt
from predict.output.submission import check_name_is_free, read_submission
from recipe.cli import Command, read_command
from train.evaluate.score_table import Scores, read_scores


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
    weights = weigh(command, runs, by) if command.options.fit else equal_weights(len(runs))
    for run, weight in zip(runs, weights, strict=True):
        print(f"{weight:.3f}  {run}")
    blended = Scores(tables[0].clips, tables[0].labels, blend_tables([table.values for table in tables], by, weights))
    write_blend(places, blended)


def weigh(command: Command, runs: Sequence[str], by: str) -> np.ndarray:
    """Weights [n_runs] fitted on the runs' out-of-fold scores of curated clips, and what they bring there."""
    paths = [command.places.home / "runs" / run / "oof.csv" for run in runs]
    tables = match_tables(runs, [read_out_of_fold(path) for path in paths])
    known = with_truth(tables, command.places.clips_csv, paths[0])
    weights = known.weights(by)
    known.show(
        [
            *zip(runs, known.scores, strict=True),
            ("equal weights", blend_tables(known.scores, by, equal_weights(len(runs)))),
            ("fitted weights, each fold by those of the others", known.blend(by)),
        ]
    )
    return weights


def read_out_of_fold(path: Path) -> Scores:
    """A run's out-of-fold scores."""
    if not path.exists():
        raise BadInput(f"{path} is not there: run make train to its end, or leave --fit out")
    return read_scores(path)


if __name__ == "__main__":
    run_script(main)
