"""SCRIPT make inspect: a submission at a glance, in the terminal and as one self-contained HTML page."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from tqdm import tqdm

from command import Command, read_command
from predict.findings import Findings, describe, find
from predict.gallery import BEGINNING_S, Gallery, RecordingGallery, StoreGallery
from predict.media import picture_uri, sound_uri
from predict.mistakes import MOST_SHOWN, confusion_matrix, describe_mistakes, top_losses
from predict.recordings import find_recordings
from predict.submission import read_submission
from predict.thresholds import read_thresholds
from predict.truth import add_submission_options, find_truth, submission_path, warn_of_other_prediction
from preprocess.clips import read_clips
from preprocess.decode import DecodeError
from preprocess.store import open_store
from preprocess.whole import written_whole
from script import run_script

TEMPLATE = Path(__file__).with_name("inspect.html.j2")
EACH = 10
"""Clips of a kind in the summary."""
SOUND_S = 10.0
"""Seconds of a clip that the page plays."""
TOP = 5
"""Labels shown of a clip."""
REASONS = {
    "mistake": "decided wrongly",
    "unlabelled": "no confident label",
    "least": "least sure",
    "surest": "surest",
    "example": "surest of a label",
}
"""Why a clip is on the page."""


def add_options(parser: ArgumentParser) -> None:
    add_submission_options(parser)
    parser.add_argument(
        "--clips", type=PositiveInt, default=60, help="Most clips on the page, each with picture and sound."
    )


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
        cards = build_cards(findings, choose_cards(findings, options.clips), gallery)
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


def choose_cards(findings: Findings, most: int) -> dict[int, list[str]]:
    """The clips to show, at most `most`, in order, with the reasons why: the keys of REASONS."""
    chosen: dict[int, list[str]] = {}
    kinds = {
        "mistake": findings.mistakes()[: most // 2],
        "unlabelled": findings.unlabelled()[:EACH],
        "least": findings.least_sure(EACH),
        "surest": findings.surest(EACH),
    }
    for reason, rows in kinds.items():
        for row in rows:
            if row in chosen or len(chosen) < most:
                chosen.setdefault(row, []).append(reason)
    others = (row for row in findings.examples() if row not in chosen)
    return chosen | {row: ["example"] for row in itertools.islice(others, most - len(chosen))}


def build_cards(findings: Findings, chosen: dict[int, list[str]], gallery: Gallery) -> list[dict[str, Any]]:
    """What the page shows of each chosen clip: its picture, sound, highest scores and true labels."""
    cards = []
    for index, reasons in tqdm(chosen.items(), "page", unit="clip", disable=None):
        clip = findings.clips[index]
        frames = gallery.frames(clip)
        cards.append(
            {
                "clip": clip,
                "reasons": reasons,
                "picture": None if frames is None else picture_uri(frames),
                "duration_s": gallery.duration_s(clip),
                # Without frames its decoder may have died of it, which only workers survive.
                "sound": None if frames is None else _sound(gallery.path(clip)),
                "known": bool(findings.known[index]),
                "labels": findings.top_labels(index, TOP),
            }
        )
    return cards


def _sound(path: Path | None) -> str | None:
    """The recording as a data URI, or None where it is no longer there or cannot be read."""
    try:
        return sound_uri(path, SOUND_S) if path else None
    except DecodeError:
        return None


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
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template(TEMPLATE.name).render(
        run=run,
        decided_at=decided_at,
        findings=findings,
        known=bool(findings.known.any()),
        figures=findings.figures(),
        confusions=findings.confusions()[:EACH],
        matrix=matrix.tolist() if matrix is not None and len(matrix) <= MOST_SHOWN else None,
        top_losses=top_losses(findings, EACH),
        cards=cards,
        reasons=REASONS,
        counts=Counter(reason for card in cards for reason in card["reasons"]),
        sound_s=SOUND_S,
        picture_s=picture_s,
    )
    with written_whole(page) as temporary:
        temporary.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
