"""SCRIPT make inspect: the summary of a submission, in the terminal and as one self-contained HTML page."""

from core.entrypoint import log_warning, run_script

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from core.csv_tables import read_table
from core.errors import UserError
from core.paths import FAILED_NAME, REPORT_NAME, SUBMISSION_NAME, WARNINGS_NAME, WINDOWS_NAME
from predict.decide.fitted_params import window_min_scores, with_window_threshold
from predict.inference.recordings import find_input_files
from predict.inference.run_loader import load_run
from predict.output.ground_truth import add_submission_options, submission_path
from predict.output.submission import read_windows
from predict.output.summary import TUNED_HERE, SubmissionSummary, summarise_submission
from preprocess.audio.isolated import decoder_limits
from preprocess.dataset.clip_table import check_frames_digests, read_clip_table
from preprocess.store.reader import open_store
from recipe.cli import Command, parse_command, resolve_n_jobs
from report import summary as summaries
from report.clip_cards import ClipMedia, build_clip_cards
from report.html_pages import write_page
from report.media.data_uris import limit_media, warn_if_no_sound
from report.media.preview import AUDIO_S, PICTURE_S
from report.media.saliency import SaliencyMapper
from report.submission.activity import read_activity
from report.submission.score_comparison import Comparison
from train.runs.run_folder import find_best_checkpoints

TEMPLATE = Path(__file__).parent / "submission" / "page.html.j2"


def add_options(parser: ArgumentParser) -> None:
    add_submission_options(parser)
    parser.add_argument(
        "--clips", type=PositiveInt, default=60, help="Most clips on the page, each with picture and sound."
    )
    parser.add_argument("--against", type=str, help="Another run, whose scores of the same clips are shown too.")
    parser.add_argument("--no_maps", action="store_true", help="Leave out the saliency maps.")
    parser.add_argument("--brief", action="store_true", help="Print the key metrics alone; the page has all.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that decode; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Summarise a submission, and write a page of its clips.", add_options)
    options, path = command.options, submission_path(command)
    n_jobs = resolve_n_jobs(options.jobs)
    summary = summarise_submission(command, path)
    source = summary.thresholds.source
    unread = describe_unread(path)
    print(f"{path}: {len(summary.clips)} clips, {len(summary.labels)} labels, decided at {source}")
    print(f"{unread}\n" if unread else "")
    print((summaries.format_key_metrics if options.brief else summaries.format_summary)(summary))
    title, against = page_title(command, path), None
    if options.against:
        against = Comparison.read(command, title, path, summary)
        print(f"\n{against.format()}")
    if summary.is_tuned_here or (against and against.other.is_tuned_here):
        print(f"\n{TUNED_HERE}")
    with open_clip_media(command) as clip_media:
        mapper = None if options.no_maps else open_saliency_mapper(command, summary.labels)
        chosen = summaries.select_clips(summary, options.clips, against.differing if against else ())
        windows = read_clip_windows(path, summary, chosen)
        cards = build_clip_cards(summary, chosen, clip_media, mapper, n_jobs, windows)
    limit_media(cards)
    page = path.with_suffix(".html") if options.submission else path.with_name(REPORT_NAME)
    write_page(
        page,
        TEMPLATE,
        title=title,
        unread=unread,
        against=against,
        activity=find_activity(command, path, summary),
        picture_s=PICTURE_S if options.input else None,
        **describe_summary(summary),
        **describe_cards(summary, cards),
    )
    print(f"\nthe page: {page}")
    warn_if_no_sound(cards)


@contextmanager
def open_clip_media(command: Command) -> Iterator[ClipMedia]:
    """Pictures and sound of the recordings that `--input` names, or else of the dataset's clips."""
    run_paths, features, limits = command.run_paths, command.recipe.features, decoder_limits(command.recipe.data)
    if command.options.input:
        yield ClipMedia(find_input_files(Path(command.options.input)), features, limits)
        return
    table = read_clip_table(run_paths.clips_csv)
    with open_store(run_paths.store) as store:
        check_frames_digests(run_paths.clips_csv, table, store.path, store.frames_digests())
        yield ClipMedia(dict(zip(table["clip"], map(Path, table["path"]), strict=True)), features, limits, store)


def open_saliency_mapper(command: Command, labels: list[str]) -> SaliencyMapper | None:
    """The saliency mapper of the run's networks; None, and a warning, if they do not fit the submission."""
    run_paths, recipe, is_input = command.run_paths, command.recipe, bool(command.options.input)
    if not find_best_checkpoints(run_paths.run_dir):  # a blend
        return None
    try:
        run = load_run(run_paths.run_dir, recipe.prediction)
        if run.labels != labels:
            raise UserError("the run's networks have other labels")
        if is_input and run.recipe.features != recipe.features:
            raise UserError("the run's networks have other features: give the same ARGS as to make predict")
        if not is_input:
            with open_store(run_paths.store, run.recipe.features):
                pass  # raises UserError unless its features are those of the networks
    except UserError as error:
        log_warning(f"the page has no saliency maps: {error}")
        return None
    if is_input:
        return SaliencyMapper(run)
    table = read_clip_table(run_paths.clips_csv)
    return SaliencyMapper(run, dict(zip(table["clip"], table["fold"], strict=True)))


def read_clip_windows(path: Path, summary: SubmissionSummary, rows: Collection[int]) -> dict[str, pd.DataFrame]:
    """The windows of clips of the submission at `path`, where they were kept; a warning if they cannot be read."""
    if not (table := find_beside(path, WINDOWS_NAME)):  # as of a blend
        return {}
    try:
        return read_windows(table, {summary.clips[row] for row in rows}, summary.labels)
    except UserError as error:
        log_warning(f"the page has no windows: {error}")
        return {}


def find_activity(command: Command, path: Path, summary: SubmissionSummary) -> dict[str, Any] | None:
    """When labels are detected in the submission at `path`; None where it is not known when recordings began."""
    if not (table := find_beside(path, WINDOWS_NAME)):
        return None
    prediction = with_window_threshold(command.run_paths.run_dir, command.recipe.prediction)
    try:
        min_scores = window_min_scores(summary.thresholds, prediction)
        return read_activity(table, summary.labels, summary.label_names, min_scores)
    except UserError as error:
        log_warning(f"the page does not show when labels are detected: {error}")
        return None


def find_beside(path: Path, name: str) -> Path | None:
    """A table that make predict wrote with the submission at `path`; None beside scores by another program."""
    table = path.with_name(name)
    return table if path.name == SUBMISSION_NAME and table.exists() else None


def describe_unread(path: Path) -> str:
    """How many recordings of the submission at `path` make predict could not read, or only in part; '' with none."""
    faults = {FAILED_NAME: "could not be read", WARNINGS_NAME: "were read in part or look odd"}
    return " ".join(
        f"Recordings that {fault}: {len(read_table(table, ['clip']))} ({name})."
        for name, fault in faults.items()
        if (table := find_beside(path, name))
    )


def page_title(command: Command, path: Path) -> str:
    """The run, and the recordings of no dataset; or the file that `--submission` names."""
    if command.options.submission:
        return path.stem
    return f"{command.run_paths.run}, {path.parent.name}" if command.options.input else command.run_paths.run


def describe_summary(summary: SubmissionSummary) -> dict[str, Any]:
    """What the page shows of scores: of labels, of clips, and confusions."""
    matrix = summaries.confusion_matrix(summary)
    confused = [] if matrix is None else summaries.most_confused(summary.label_names, matrix)
    return {
        "summary": summary,
        "has_truth": bool(summary.has_truth.any()),
        "key_metrics": summaries.key_metrics(summary),
        "label_table": summaries.label_table(summary),
        "bars": summaries.histogram(summary),
        "most_confused": confused[: summaries.CLIPS_PER_REASON],
        "matrix": matrix.tolist() if matrix is not None and len(matrix) <= summaries.MAX_LABELS_ON_PAGE else None,
        "top_losses": list(summaries.top_losses(summary).itertuples()),
    }


def describe_cards(summary: SubmissionSummary, cards: list[dict[str, Any]]) -> dict[str, Any]:
    """The clips to look at, how many of each reason are shown, and the rows of the table of clips."""
    shown_rows = {card["row"] for card in cards}
    rows = summaries.sample_rows(len(summary.clips), shown_rows)
    return {
        "cards": cards,
        "clip_rows": list(summaries.clip_table(summary).iloc[rows].itertuples()),
        "shown_rows": shown_rows,
        "has_strips": any(card["window_times"] for card in cards),
        "has_saliency": any("saliency" in label for card in cards for label in card["labels"]),
        "reasons": summaries.REASONS,
        "counts": Counter(reason for card in cards for reason in card["reasons"]),
        "audio_s": AUDIO_S,
    }


if __name__ == "__main__":
    run_script(main)
