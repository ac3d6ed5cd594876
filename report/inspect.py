"""SCRIPT make inspect: a submission at a glance, in the terminal and as one self-contained HTML page."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from core.entrypoint import run_script
from core.errors import BadInput
from core.files import written_whole
from predict.decide.thresholds import read_thresholds
from predict.inference.input_files import find_recordings
from predict.inference.tagger import load_run
from predict.output.ground_truth import add_submission_options, find_truth, submission_path, warn_of_other_prediction
from predict.output.submission import read_submission
from predict.output.summary import Findings, describe, find
from preprocess.dataset.clip_table import read_clips
from preprocess.store.reader import open_store
from recipe.cli import Command, read_command
from report.clip_cards import EACH, REASONS, SOUND_S, build_cards, choose_cards
from report.clip_media import BEGINNING_S, Gallery, RecordingGallery, StoreGallery
from report.error_analysis import MOST_SHOWN, confusion_matrix, confusions, describe_mistakes, top_losses
from report.html import render_page
from report.saliency import Mapper
from train.runs.run_folder import best_paths

TEMPLATE = Path(__file__).parent / "templates" / "inspect.html.j2"


def add_options(parser: ArgumentParser) -> None:
    add_submission_options(parser)
    parser.add_argument(
        "--clips", type=PositiveInt, default=60, help="Most clips on the page, each with picture and sound."
    )
    parser.add_argument("--no_maps", action="store_true", help="Do not ask the networks where they hear each label.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Summarise a submission, and write a page of its clips.", add_options)
    places, options = command.places, command.options
    path = submission_path(command)
    warn_of_other_prediction(command, path)
    scores = read_submission(path)
    truth = find_truth(options.truth, None if options.input else places.clips_csv, scores)
    thresholds = read_thresholds(places.run_home, scores.labels, command.recipe.prediction)
    findings = find(scores, thresholds, truth)
    print(f"{path}: {len(findings.clips)} clips, {len(findings.labels)} labels, decided at {thresholds.source}\n")
    print(describe(findings, EACH))
    if mistakes := describe_mistakes(findings, EACH):
        print(mistakes)
    with open_gallery(command) as gallery:
        mapper = None if options.no_maps else open_mapper(command, findings.labels)
        cards = build_cards(findings, choose_cards(findings, options.clips), gallery, mapper)
    page = path.with_suffix(".html")
    write_page(page, path.stem, thresholds.source, findings, cards, BEGINNING_S if options.input else None)
    print(f"\nthe page: {page}")


@contextmanager
def open_gallery(command: Command) -> Iterator[Gallery]:
    """Pictures and sound of the recordings that `--input` names, or else of the dataset's clips."""
    places = command.places
    if command.options.input:
        yield RecordingGallery(find_recordings(Path(command.options.input)), command.recipe.features)
        return
    table = read_clips(places.clips_csv)
    with open_store(places.store) as store:
        yield StoreGallery(store, dict(zip(table["clip"], table["path"], strict=True)))


def open_mapper(command: Command, labels: list[str]) -> Mapper | None:
    """The run's networks, to be asked where they hear labels; None, and a line, where they cannot be."""
    places, recipe = command.places, command.recipe
    if not best_paths(places.run_home):  # a blend
        return None
    table = pd.DataFrame(columns=["clip", "fold"]) if command.options.input else read_clips(places.clips_csv)
    try:
        run = load_run(places.run_home, recipe.prediction)
        if run.labels != labels:
            raise BadInput("the run's networks have other labels")
        if command.options.input and run.recipe.features != recipe.features:
            raise BadInput("the run's networks know other features: give the same ARGS as to make predict")
        if not command.options.input:
            with open_store(places.store, run.recipe.features):
                pass  # its frames are what the networks know
    except BadInput as error:
        print(f"without maps of where labels were heard: {error}", file=sys.stderr)
        return None
    return Mapper(run, dict(zip(table["clip"], table["fold"], strict=True)))


def write_page(
    page: Path,
    run: str,
    decided_at: str,
    findings: Findings,
    cards: list[dict[str, Any]],
    picture_s: float | None = None,
) -> None:
    """Render the template into one file that needs no other; pictures are of whole clips, or of `picture_s` of them."""
    matrix = confusion_matrix(findings)
    html = render_page(
        TEMPLATE,
        run=run,
        decided_at=decided_at,
        findings=findings,
        known=bool(findings.known.any()),
        figures=findings.figures(),
        confusions=[] if matrix is None else confusions(findings.labels, matrix)[:EACH],
        matrix=matrix.tolist() if matrix is not None and len(matrix) <= MOST_SHOWN else None,
        top_losses=top_losses(findings, EACH),
        cards=cards,
        mapped=any("map" in label for card in cards for label in card["labels"]),
        reasons=REASONS,
        counts=Counter(reason for card in cards for reason in card["reasons"]),
        sound_s=SOUND_S,
        picture_s=picture_s,
    )
    with written_whole(page) as temporary:
        temporary.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
