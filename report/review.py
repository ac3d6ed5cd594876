"""SCRIPT make review: clips around detections, a page to judge them on, and from verdicts precision and thresholds."""

from core.entrypoint import log_warning, run_script

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt

from core.errors import UserError
from core.file_lock import file_lock
from core.paths import WINDOWS_NAME
from predict.decide.fitted_params import read_thresholds, window_min_scores, with_window_threshold, write_thresholds
from predict.inference.recordings import find_input_files
from predict.output.ground_truth import submission_of_run
from predict.output.provenance import warn_if_predicted_otherwise
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits
from preprocess.dataset.labels import join_labels
from recipe.cli import Command, parse_command, resolve_n_jobs
from report.verdicts import clip_choice, clips_table, judging_page, precision, verdict_table
from report.verdicts.cutting import CutTask, cut_all
from train.evaluate.score_table import read_scores

FOLDER_NAME = "review"
"""Beside a prediction's CSVs."""
MAX_CLIP_S = 3600.0
PLACE = ["clip", "start_s", "end_s"]


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=str, help="The recordings that were predicted: a file or a folder.")
    parser.add_argument("--clips", type=PositiveInt, default=20, help="Most clips of each label.")
    parser.add_argument("--choose", choices=list(get_args(clip_choice.Choice)), default="spread", help="Which of them.")
    parser.add_argument("--labels", nargs="+", type=str, help="Labels to review; by default all.")
    parser.add_argument("--min_score", type=ClosedUnitInterval, default=0.1, help="Lowest score of a detection.")
    parser.add_argument("--seconds", type=float | None, help="Length of clips; by default a window's.")
    parser.add_argument("--format", type=Literal["flac", "wav"], default="flac", help="Of the clips.")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="Seed of the draws.")
    parser.add_argument(
        "--show_scores", action="store_true", help="Show scores on the page; people tend to agree with them."
    )
    parser.add_argument("--verdicts", type=str, help="A table of verdicts; by default verdicts.csv beside them.")
    parser.add_argument("--precision", type=ClosedUnitInterval | None, help="Set thresholds for this precision.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that decode; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Cut clips of detections, judge them, and learn precision.", add_options)
    options, n_jobs = command.options, resolve_n_jobs(command.options.jobs)
    if not options.input:
        raise UserError("INPUT= is missing: name the recordings that make predict INPUT= has scored")
    if options.seconds is not None and not 0 < options.seconds <= MAX_CLIP_S:
        raise UserError(f"--seconds {options.seconds:g}: must be above 0, and at most {MAX_CLIP_S:g}")
    submission = submission_of_run(command.run_paths, options.input)
    labels, folder = read_scores(submission).labels, submission.parent / FOLDER_NAME
    if unknown := sorted(set(options.labels or ()) - set(labels)):
        raise UserError(f"--labels names {unknown[0]!r}, which is no label of {submission}")
    warn_if_predicted_otherwise(command, submission)
    recordings = find_input_files(Path(options.input))
    folder.mkdir(exist_ok=True)
    with file_lock(folder / ".lock", f"make review of {submission.parent}"):
        clips = clips_table.read_clips(folder, recordings)
        verdicts_csv = Path(options.verdicts) if options.verdicts else folder / verdict_table.VERDICTS_NAME
        has_verdicts = bool(options.verdicts) or verdicts_csv.exists()
        verdicts = verdict_table.read_verdicts(verdicts_csv, clips) if has_verdicts else None
        # Needed are windows from the score of a detection on, or of a label that is decided there.
        lowest = min(options.min_score, *decided_from(command, labels).values())
        present = clips[clips["is_present"]]
        detections = clip_choice.read_detections(submission.with_name(WINDOWS_NAME), labels, lowest, present)
        clips = add_new_clips(command, folder, clips, recordings, detections, labels, n_jobs)
        earlier_at = verdicts_csv.stat().st_mtime if has_verdicts else 0.0
        judging_page.write_judging_page(command, folder, clips, verdicts, earlier_at, labels, n_jobs)
        if verdicts is not None and len(verdicts):
            use_verdicts(command, folder, clips, verdicts, detections, labels)
        elif options.precision is not None:
            log_warning(f"--precision does nothing yet: there are no verdicts, download them to {verdicts_csv}")


def decided_from(command: Command, labels: list[str]) -> dict[str, float]:
    """The score from which on a window has a label, by label."""
    run_dir = command.run_paths.run_dir
    prediction = with_window_threshold(run_dir, command.recipe.prediction)
    min_scores = window_min_scores(read_thresholds(run_dir, labels, prediction), prediction)
    return dict(zip(labels, np.broadcast_to(min_scores, len(labels)).tolist(), strict=True))


def add_new_clips(
    command: Command,
    folder: Path,
    clips: pd.DataFrame,
    recordings: Mapping[str, Path],
    detections: pd.DataFrame,
    labels: list[str],
    n_jobs: int,
) -> pd.DataFrame:
    """Choose detections, cut those that are not there, and write the table; all earlier clips stay."""
    options, features = command.options, command.recipe.features
    wanted = detections[detections["label"].isin(options.labels or labels) & (detections["score"] >= options.min_score)]
    if wanted.empty and clips.empty:
        raise UserError(
            f"no window of {folder.parent / WINDOWS_NAME} scores {options.min_score:g}: lower --min_score, and that of "
            "make predict where it had one"
        )
    present = clips[clips["is_present"]]
    chosen = clip_choice.choose_detections(wanted, options.choose, options.clips, options.seed, present)
    if absent := sorted(set(chosen["recording"]) - recordings.keys()):
        raise UserError(f"{options.input} does not hold {absent[0]!r}, which was predicted: run make predict again")
    new = clips_table.add_clips(present, chosen, recordings, options.format)
    longest_s = (chosen["window_end_s"] - chosen["window_start_s"]).max() if len(chosen) else 1
    seconds = float(options.seconds or longest_s)
    places = {clip: (start_s, end_s) for clip, start_s, end_s in clips[PLACE].itertuples(index=False, name=None)}
    tasks = [
        CutTask(
            recordings[str(name)],
            ((rows["window_start_s"] + rows["window_end_s"]) / 2).tolist(),
            [folder / clip for clip in rows["clip"]],
            seconds,
            features.channel,
        )
        for name, rows in new[~new["clip"].isin(places)].drop_duplicates("clip").groupby("recording")
    ]
    for result in cut_all(tasks, decoder_limits(command.recipe.data), n_jobs) if tasks else ():
        if isinstance(result, DecodeError):
            log_warning(f"no clips of a recording that cannot be read: {result}")
        else:
            places[result.file.relative_to(folder).as_posix()] = (result.start_s, result.end_s)
    new = new[new["clip"].isin(places)]
    spans = {name: [places[clip][k] for clip in new["clip"]] for k, name in enumerate(PLACE[1:])}
    new = new.assign(**spans, other_labels="")
    table = pd.concat([clips, new], ignore_index=True) if len(clips) else new
    table = clips_table.with_scores(table[[*clips_table.COLUMNS, "is_present"]], detections)
    others = clip_choice.find_other_labels(table, detections, decided_from(command, labels))
    found = pd.Series([join_labels(each) for each in others], table.index, dtype="object")
    table["other_labels"] = found.where(table["score"].notna(), table["other_labels"])
    if table.empty:
        raise UserError(f"none of the recordings of {options.input} can be read: there is nothing to review")
    clips_table.write_clips(folder, table)
    kept = f", {len(clips)} that were there stay as they are (for clips of another length, move the folder away)"
    print(f"{len(new)} new clips of {new['label'].nunique()} labels{kept if len(clips) else ''}: {folder}")
    return table


def use_verdicts(
    command: Command,
    folder: Path,
    clips: pd.DataFrame,
    verdicts: pd.DataFrame,
    detections: pd.DataFrame,
    labels: list[str],
) -> None:
    """Print and write precision by score and the table for training; with `--precision`, set thresholds."""
    judged = clips.merge(verdicts, on=["clip", "label"]).assign(is_right=lambda table: table["verdict"] == "yes")
    if n_unknown := int(judged["score"].isna().sum()):
        log_warning(
            f"{n_unknown} judged clips are of windows that the prediction has not, or of other recordings: "
            "they count for training alone"
        )
    judged = judged.dropna(subset=["score"])
    rows = precision.precision_table(judged)
    print(f"\n{len(verdicts)} verdicts; precision by score, with Wilson's 95 % interval:")
    table = pd.DataFrame(rows, columns=precision.COLUMNS)
    if len(table):
        print(table.to_string(index=False, float_format="{:.2f}".format))
    print(f"precision: {precision.write_precision(folder, rows)}")
    data = command.recipe.data
    training, n_left_out = verdict_table.training_rows(verdicts, clips, data.folds, data.group_pattern)
    path = verdict_table.write_training_table(folder, training)
    n_negatives = sum(not row[1] for row in training)
    print(f"training data: {path}, {len(training)} clips, {n_negatives} of them negatives")
    if n_left_out:
        log_warning(f"{n_left_out} clips may hold another label that nobody has judged: they are no negatives")
    if training and not any(row[3] for row in training):
        sources = "recordings, or groups of data.group_pattern," if data.group_pattern else "recordings,"
        log_warning(f"folds would share {sources} which are too few: scores out of fold will be too good")
    if command.options.precision is not None:
        set_thresholds(command, judged, detections, labels)


def set_thresholds(command: Command, judged: pd.DataFrame, detections: pd.DataFrame, labels: list[str]) -> None:
    """Choose each judged label's threshold for `--precision`, and write all where make predict reads them."""
    wanted, prediction, run_dir = command.options.precision, command.recipe.prediction, command.run_paths.run_dir
    if prediction.pooling == "vote_fraction":
        raise UserError("thresholds of prediction.pooling vote_fraction are for shares of windows, not for scores")
    values = read_thresholds(run_dir, labels, replace(prediction, threshold=None)).values.astype(np.float64)
    choices = [
        precision.choose_threshold(
            str(label), group, detections.loc[detections["label"] == label, "score"].to_numpy(), wanted
        )
        for label, group in judged.groupby("label")
    ]
    print(f"\nthresholds for precision {wanted:g}:")
    for choice in choices:
        print(f"  {choice.describe()}")
        if choice.threshold is not None:
            values[labels.index(choice.label)] = choice.threshold
    if all(choice.threshold is None for choice in choices):
        log_warning("no label has enough verdicts: thresholds stay as they are")
        return
    details = {"reviewed": len(judged), "precision": wanted}
    print(f"thresholds: {write_thresholds(run_dir, labels, values, prediction, details)}")


if __name__ == "__main__":
    run_script(main)
