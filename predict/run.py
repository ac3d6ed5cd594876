"""SCRIPT make predict: a submission's CSVs, for the clips of a dataset or for any recordings."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from core.csv_tables import write_table
from core.device import pick_device
from core.entrypoint import run_script, warn
from core.errors import BadInput
from core.file_lock import locked
from predict.decide.thresholds import Thresholds, centred, lowest_of_windows, read_thresholds, with_tuned_windows
from predict.inference.dataset_clips import FAILED_COLUMNS, answer_clips, choose_clips, find_failed
from predict.inference.input_files import find_recordings
from predict.inference.recordings import answer_recordings, warn_of_copies
from predict.inference.score_cache import open_journal
from predict.inference.tagger import Answer, Run, load_run, pool_views, warn_of_unfinished
from predict.output.annotation_formats import FORMATS, left_from_before
from predict.output.detections import Filters, detect
from predict.output.ground_truth import submission_path
from predict.output.provenance import remember, source_name, strange_in
from predict.output.submission import (
    CENTRE_SUFFIX,
    Sample,
    fit_sample,
    read_sample,
    write_decisions,
    write_submission,
    write_windows,
    write_windows_wide,
)
from preprocess.dataset.clip_table import read_clips
from preprocess.store.reader import open_store
from recipe.cli import Command, add_machine_options, count_jobs, read_command
from train.evaluate.score_table import Scores


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=str | None, help="A recording or a folder of them, instead of the dataset.")
    add_machine_options(parser)
    parser.add_argument("--wide", action="store_true", help="Window table with a column a label.")
    parser.add_argument("--export", nargs="*", choices=list(FORMATS), default=[], help=f"Also as {', '.join(FORMATS)}.")
    parser.add_argument("--top_labels", type=PositiveInt | None, help="Most labels of a window.")
    parser.add_argument(
        "--min_score", type=ClosedUnitInterval | None, help="Lowest score there; exports: by default decisions."
    )
    parser.add_argument("--merge", action="store_true", help="Exports: consecutive windows of a label become one span.")


@dataclass(frozen=True)
class Outcome:
    """Everything there is to write."""

    answers: dict[str, Answer]
    failed: list[tuple[str, str]]
    sample: Sample | None


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Score clips with the networks of a run, and write the submission.", add_options)
    warn_of_idle_merge(command.options)
    device = pick_device(command.options.device)
    home = command.places.run_home
    run = load_run(home, with_tuned_windows(home, command.recipe.prediction), device)
    warn_of_unfinished(home, run.recipe.training.epochs)
    submission, source = submission_path(command), source_name(command.options.input)
    if strange := strange_in(home, submission, source):
        warn(f"{submission} {strange}, and is replaced with what lies beside it: another RUN= leaves it alone")
    outcome = score_input(command, run, device) if command.options.input else score_dataset(command, run, device)
    write_outcome(command, run, outcome, submission)
    remember(home, submission, command.recipe.prediction, run.digest, source)


def warn_of_idle_merge(options: Namespace) -> None:
    """Say where `--merge` does nothing."""
    if options.merge and not options.export:
        warn("--merge does nothing without --export: windows are joined in exports alone")


def score_dataset(command: Command, run: Run, device: torch.device) -> Outcome:
    """Answer the dataset's clips from the store."""
    places = command.places
    with open_store(places.store, run.recipe.features) as store:
        wanted, who = choose_clips(read_clips(places.clips_csv), run)
        failed = find_failed(wanted, store, places)
        print(who)
        answers = answer_clips(wanted, run, store, device, count_jobs(command.options.jobs))
    sample = read_sample(places.sample_csv) if (wanted["split"] == "test").all() else None
    return Outcome(answers, list(failed.itertuples(index=False, name=None)), sample)


def score_input(command: Command, run: Run, device: torch.device) -> Outcome:
    """Answer recordings of no dataset as they are heard."""
    source = Path(command.options.input)
    recordings = find_recordings(source)
    home = command.places.run_home / "heard"
    journal = open_journal(home, run)
    warn_of_copies(run.prediction)
    print(f"{len(recordings)} recordings, answered by the networks of {len(run.folds)} folds together")
    n_jobs = count_jobs(command.options.jobs)
    with locked(home / ".lock", f"make predict INPUT= of run {command.places.run}"):
        answers, failed = answer_recordings(recordings, run.tagger(), run.recipe.features, journal, device, n_jobs)
    if not answers:
        clip, reason = failed[0]
        raise BadInput(f"none of the {len(recordings)} recordings of {source} could be read ({clip}: {reason})")
    return Outcome(answers, failed, None)


def write_outcome(command: Command, run: Run, outcome: Outcome, submission: Path) -> None:
    """Write the submission, and beside it windows, decisions, failures and exports, each whole; say where they are."""
    answers = outcome.answers
    scores = Scores(list(answers), run.labels, np.stack([answer.scores for answer in answers.values()]))
    submitted, unheard = fit_sample(scores, outcome.sample) if outcome.sample else (scores, [])
    if unheard:
        warn(f"{len(unheard)} clips could not be read and get the mean of the others: {', '.join(unheard)}")
    thresholds = read_thresholds(command.places.run_home, run.labels, run.prediction)

    def place(suffix: str) -> Path:
        return submission.with_name(submission.stem + suffix)

    write_window_table(command, place("_windows.csv"), answers, run.labels)
    write_decisions(place("_labels.csv"), scores, thresholds.decide(scores.values))
    write_submission(submission, submitted, outcome.sample)
    write_centre(place(CENTRE_SUFFIX), answers, run, outcome.sample)
    write_failed(place("_failed.csv"), outcome.failed)
    place(".html").unlink(missing_ok=True)  # of an earlier prediction: make inspect writes it anew
    for path in write_exports(command, run, place, answers, scores, thresholds):
        print(path)
    warn_of_older_exports(command.options.export, place, answers)
    print(f"windows: {place('_windows.csv')}")
    print(f"labels decided at {thresholds.source}: {place('_labels.csv')}")
    print(f"{len(submitted.clips)} clips, {len(submitted.labels)} labels: {submission}")


def write_window_table(command: Command, path: Path, answers: dict[str, Answer], labels: list[str]) -> None:
    """The window table, long or wide, with what the filters leave."""
    options = command.options
    write = write_windows_wide if options.wide else write_windows
    write(path, answers, labels, Filters(np.array(options.min_score or 0.0), options.top_labels))


def write_centre(path: Path, answers: dict[str, Answer], run: Run, sample: Sample | None) -> None:
    """The scores by the window in the middle of each clip and of its copies, in the submission's form.

    No file where that says nothing new.
    """
    one_window, heard = centred(run.prediction), [answer.views for answer in answers.values()]
    if one_window == run.prediction or all(len(view) == 1 for views in heard for view in views):
        path.unlink(missing_ok=True)
        return
    pooled = [pool_views(list(map(torch.from_numpy, views)), one_window).numpy() for views in heard]
    scores = Scores(list(answers), run.labels, np.stack(pooled))
    write_submission(path, fit_sample(scores, sample)[0] if sample else scores, sample)


def write_failed(path: Path, failed: list[tuple[str, str]]) -> None:
    """The recordings that could not be read; no file where there are none."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    warn(f"{len(failed)} recordings could not be read: see {path}")
    write_table(path, FAILED_COLUMNS, failed)


def write_exports(
    command: Command,
    run: Run,
    place: Callable[[str], Path],
    answers: dict[str, Answer],
    scores: Scores,
    thresholds: Thresholds,
) -> Iterator[Path]:
    """Write the formats asked for, and name each."""
    options, features = command.options, run.recipe.features
    if not options.export:
        return
    least = lowest_of_windows(thresholds, run.prediction) if options.min_score is None else np.array(options.min_score)
    filters = Filters(least, options.top_labels, options.merge)
    found = {clip: detect(answer, run.labels, filters) for clip, answer in answers.items()}
    for name in options.export:
        suffix, write = FORMATS[name]
        yield write(place(suffix), found, scores, features.fmax_hz or features.rate_hz / 2)


def warn_of_older_exports(asked: Collection[str], place: Callable[[str], Path], clips: Collection[str]) -> None:
    """Say which exports are still there of an earlier prediction: someone may have worked on them."""
    for name, (suffix, _) in FORMATS.items():
        if older := left_from_before(name, place(suffix), clips if name in asked else ()):
            those = f"{older[0]} is" if len(older) == 1 else f"{older[0]} and {len(older) - 1} more are"
            warn(f"{those} of an earlier prediction: delete what is of no use, or predict with --export {name}")


if __name__ == "__main__":
    run_script(main)
