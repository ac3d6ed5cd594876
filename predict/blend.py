"""SCRIPT make blend: one submission from those of several runs."""

from core.entrypoint import log_warning, run_script

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.errors import UserError
from core.files import hash_files, replace_files
from core.paths import PREDICTION_NAMES, SUBMISSION_NAME, RunPaths
from predict.decide.blend_weights import BLEND_FUNCTIONS, align_tables, blend_tables, cross_fit_blend, fit_weights
from predict.output.ground_truth import read_oof_scores, truth_of_clips
from predict.output.provenance import (
    check_same_frames,
    describe_oof_change,
    find_recipe_name,
    why_stale,
    write_provenance,
)
from predict.output.submission import align_to_sample, read_sample, write_submission
from predict.output.summary import named_metrics
from preprocess.dataset.clip_table import hash_frames_digests, read_clip_table
from recipe.cli import Command, parse_command
from train.data.corrected_clips import read_corrected_clips
from train.evaluate.score_table import ScoreTable, read_scores
from train.runs.run_folder import find_corrections

PRINTED_METRICS = ("lwlrap", "mAP", "accuracy")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", nargs="+", required=True, help="Names of runs that have been predicted.")
    parser.add_argument("--by", choices=list(BLEND_FUNCTIONS), default="mean", help="How the runs' scores become one.")
    parser.add_argument("--fit", action="store_true", help="Weigh runs by what is best on their out-of-fold scores.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Blend the submissions of several runs.", add_options)
    runs, by, run_paths = command.options.runs, command.options.by, command.run_paths
    clips_csv = run_paths.clips_csv
    if run_paths.run in runs or any(run_paths.run_dir.glob("fold*")):
        raise UserError(f"--run {run_paths.run} is a run of its own and would be replaced: name the blend, RUN=other")
    members = [replace(run_paths, run=run) for run in runs]
    tables = align_tables(runs, [read_scores(member.submission_csv) for member in members])
    for member in members:
        check_same_frames(member, member.submission_csv)
        if reason := why_stale(member, member.submission_csv):
            log_warning(f"{member.submission_csv} {reason}: run make predict again")
    weights = fit_run_weights(command, members, by) if command.options.fit else np.full(len(runs), 1 / len(runs))
    for run, weight in zip(runs, weights, strict=True):
        print(f"{weight:.3f}  {run}")
    values = blend_tables([table.values for table in tables], by, weights)
    blended, sample = ScoreTable(tables[0].clips, tables[0].labels, values), read_sample(run_paths.sample_csv)
    if sample:
        blended, missing = align_to_sample(blended, sample)
        if missing:
            raise UserError(
                f"the submissions lack clip {missing[0]!r} of the sample submission (one of {len(missing)}): run make "
                f"predict again for {', '.join(runs)}"
            )
    with replace_files(run_paths.submission_dir, PREDICTION_NAMES) as folder:
        write_submission(folder / SUBMISSION_NAME, blended, sample)
        frames = hash_frames_digests(read_clip_table(clips_csv), blended.clips) if clips_csv.exists() else None
        details = {"runs": runs, "by": by, "weights": weights.tolist(), "frames": frames}
        write_provenance(folder / SUBMISSION_NAME, run_paths.name, details)
    print(f"{len(blended.clips)} clips, {len(blended.labels)} labels: {run_paths.submission_csv}")


def fit_run_weights(command: Command, members: Sequence[RunPaths], by: str) -> np.ndarray:
    """Weights [n_runs] fitted on the runs' out-of-fold scores of curated clips; prints their metrics there."""
    runs, recipe = [member.run for member in members], command.recipe
    for member in members:
        if not member.oof_csv.exists():
            if (of := find_recipe_name(member.submission_csv)) not in (None, member.name):
                raise UserError(f"--fit: run {member.run} is of recipe {of}, not {member.name}: leave --fit out")
            raise UserError(f"{member.oof_csv} is not there: run make train to its end, or leave --fit out")
        if keys := describe_oof_change(member):
            log_warning(
                f"{member.submission_csv} was predicted with {keys}, and {member.oof_csv}, by which it is weighed, was "
                "not: give make train and make predict the same keys, or leave --fit out"
            )
    corrections = {member.run: find_corrections(member, recipe) for member in members}
    named = recipe.training.corrections  # for all of them
    if not named and len({path and hash_files([Path(path)]) for path in corrections.values()}) > 1:
        raise UserError(f"the runs have different training.corrections ({corrections}): name the one that holds")
    clips = read_corrected_clips(members[0], corrections[runs[0]])
    tables = align_tables(runs, [read_oof_scores(member, clips)[0] for member in members])
    if not tables[0].clips:
        raise UserError(
            f"{members[0].clips_csv} has no checked labels of the out-of-fold clips: "
            "make blend without --fit needs none"
        )
    truth, scores = truth_of_clips(clips, tables[0]), [table.values for table in tables]
    folds = clips.table.set_index("clip").loc[tables[0].clips, "fold"].to_numpy()
    print(f"out of fold, {len(truth)} clips:")
    lwlraps = []
    for name, values in [
        *zip(runs, scores, strict=True),
        ("equal weights", blend_tables(scores, by, np.full(len(runs), 1 / len(runs)))),
        ("fitted weights, each fold by those of the others", cross_fit_blend(scores, truth, folds, by)),
    ]:
        metrics = named_metrics(truth, values)
        lwlraps.append(metrics.get("lwlrap", 0.0))
        print("  " + "  ".join([*(f"{key} {metrics[key]:.4f}" for key in PRINTED_METRICS if key in metrics), name]))
    if lwlraps[-1] < lwlraps[-2]:
        print("fitted weights are worse than equal ones on folds they were not fitted on: leave --fit out")
    return fit_weights(scores, truth, by)


if __name__ == "__main__":
    run_script(main)
