"""SCRIPT make survey: a page of a dataset, from what preprocess.survey measured and some of its recordings."""

from core.entrypoint import run_script

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from preprocess.audio.isolated import decoder_limits
from preprocess.dataset.clip_table import TEST_FOLD
from preprocess.dataset.label_names import name_labels
from preprocess.dataset.loader import Dataset, read_dataset
from preprocess.statistics.dataset import SUBSETS, DatasetStatistics, read_statistics
from preprocess.statistics.report import find_warnings, overview
from recipe import Recipe
from recipe.cli import parse_command, resolve_n_jobs
from report.dataset.cards import build_cards, read_spectra
from report.dataset.clip_analysis import ANALYSIS_S
from report.dataset.clip_choice import choose_sets, deal_clips, rank_clips
from report.dataset.spectra import histogram_chart, spectrum_charts
from report.html_pages import write_page
from report.media.data_uris import limit_media, warn_if_no_sound
from report.media.spectrogram import spectrogram_features

TEMPLATE = Path(__file__).parent / "dataset" / "page.html.j2"
CLIPS_PER_SPECTRUM = 8
MAX_LABELS_IN_MATRIX, MAX_FOLDS = 40, 10
"""Of the tables."""
MAX_EXAMPLES = 50
"""Clips named below a warning."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--clips", type=PositiveInt, default=60, help="Most clips on the page, each with pictures and sound."
    )
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that decode; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a page of a dataset that preprocess.survey measured.", add_options)
    n_jobs, dataset = resolve_n_jobs(command.options.jobs), read_dataset(command.recipe.data)
    stats = read_statistics(command.run_paths.survey_json, dataset)
    clips = describe_clips(command.recipe, dataset, stats, command.options.clips, n_jobs)
    values = describe_statistics(stats, name_labels(dataset.vocabulary, command.recipe.data))
    page = command.run_paths.survey_json.with_suffix(".html")
    write_page(page, TEMPLATE, title=command.recipe.name, stats=stats, **values, **clips)
    print(f"the page: {page}")


def describe_statistics(stats: DatasetStatistics, names: dict[str, str]) -> dict[str, Any]:
    """Tables and charts of a dataset."""
    recordings = stats["recordings"]
    labels = [label | {"label": names[label["label"]]} for label in stats["labels"]]
    together = [index for index, row in enumerate(stats["co_occurrence"]) if sum(row) > row[index]]
    together.sort(key=lambda index: -labels[index]["clips"]["all"])
    distributions = [
        histogram_chart(title, unit, [one[key] for one in recordings])
        for title, unit, key in (("clips by length", "s", "duration_s"), ("clips by level", "dB", "rms_db"))
        if recordings
    ]
    return {
        "overview": overview(stats),
        "warnings": find_warnings(stats | {"labels": labels}),
        "max_examples": MAX_EXAMPLES,
        "subsets": [name for name in SUBSETS if 0 < stats["clips"][name] < stats["clips"]["all"]],
        "labels": labels,
        "folds": [] if len(stats["folds"]) > MAX_FOLDS else list(stats["folds"]),
        "together": together[:MAX_LABELS_IN_MATRIX],
        "n_together": len(together),
        "distributions": distributions,
    }


def describe_clips(
    recipe: Recipe, dataset: Dataset, stats: DatasetStatistics, n_clips: int, n_jobs: int
) -> dict[str, Any]:
    """Clips to compare, and some of each label with its mean spectrum."""
    features, limits = spectrogram_features(recipe.features), decoder_limits(recipe.data)
    measures = {one["clip"]: one for one in stats["recordings"]}
    table = dataset.table[dataset.table["clip"].isin(measures)].set_index("clip", drop=False)
    names = name_labels(dataset.vocabulary, recipe.data)
    sets, ranked = choose_sets(stats, table, n_clips), rank_clips(table, recipe.data.seed)
    compared = list(dict.fromkeys(clip for each in sets for clip in each.clips))
    dealt = deal_clips(ranked, n_clips - len(compared), compared)
    by_round = [clip for clips in zip_longest(*dealt.values()) for clip in clips if clip]
    shown = [*compared, *by_round]  # the last of them may lose their media, so no label's clips are all last
    cards, spectra = build_cards(shown, table, names, features, n_jobs, limits)
    averaged = {label: ranked[label][:CLIPS_PER_SPECTRUM] for label in dealt}
    others = list({clip for clips in averaged.values() for clip in clips} - cards.keys())
    spectra |= read_spectra(others, table, features, n_jobs, limits)
    by_label = {label: [spectra[clip] for clip in clips if clip in spectra] for label, clips in averaged.items()}
    charts = spectrum_charts(by_label, features)
    warn_if_no_sound(list(cards.values()))
    return {
        "n_limited": limit_media(cards[clip] for clip in shown),
        "sets": [(each, [cards[clip] for clip in each.clips]) for each in sets],
        "label_sections": [
            (names[label], charts.get(label), [cards[clip] for clip in clips]) for label, clips in dealt.items()
        ],
        "measures": measures,
        "n_shown": len(shown),
        "kind": recipe.features.kind,
        "analysis_s": ANALYSIS_S,
        "test_fold": TEST_FOLD,
    }


if __name__ == "__main__":
    run_script(main)
