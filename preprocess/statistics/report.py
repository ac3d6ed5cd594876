"""A dataset's statistics as lines for a terminal, the warnings last."""

from collections.abc import Callable, Iterable, Iterator

import pandas as pd

from preprocess.dataset.clip_table import TEST_FOLD
from preprocess.dataset.labels import NEGATIVE
from preprocess.statistics.dataset import SUBSETS, DatasetStatistics

BAR_WIDTH = 24
MAX_LABELS = 40
MAX_FOLDS = 10
MAX_EXAMPLES = 5
LABELS_IN_WORDS = {"": "?", NEGATIVE: "none"}
SILENT_SHARE = 0.999
CLIPPED_SHARE = 0.001
"""Shares from which a clip is called silent or clipped."""


def format_report(stats: DatasetStatistics) -> Iterator[str]:
    """The overview, the labels and folds, then the warnings."""
    for name, text in overview(stats).items():
        yield f"{name:<10}{text}"
    yield ""
    yield from _label_table(stats)
    yield ""
    if pairs := _co_occurring_labels(stats):
        yield f"{'together':<10}{_join_first(pairs)}"
    warnings = find_warnings(stats)
    for headline, items in warnings.items():
        yield f"! {headline}: {len(items):,}"
        yield from (f"    {item}" for item in items[:MAX_EXAMPLES])
        if len(items) > MAX_EXAMPLES:
            yield f"    and {len(items) - MAX_EXAMPLES:,} more, see survey.json"
    for note in stats["notes"]:
        yield f"{'note':<10}{note}"
    if not warnings:
        yield f"{'warnings':<10}none: every recording can be read, none is there twice, no fold leaks"


def overview(stats: DatasetStatistics) -> dict[str, str]:
    """Clips, sound, lengths, levels, formats, labels and folds in words, by their names."""
    totals = {
        "clips": _format_subsets(stats["clips"], "{:,}".format),
        "sound": _format_subsets(stats["hours"], _format_duration),
    }
    if not stats["recordings"]:
        return totals
    rates = {f"{int(rate) / 1000:g} kHz": times for rate, times in stats["rates_hz"].items()}
    per_clip = sorted(stats["labels_per_clip"].items(), key=lambda pair: int(pair[0]))
    n_groups = sum(fold["groups"] for fold in stats["folds"].values())
    return totals | {
        "length": _format_quantiles(stats["lengths_s"], "{:.2f}") + " s",
        "level": _format_quantiles(stats["levels_db"], "{:.1f}") + " dB of full scale",
        "rate": _format_counts(rates),
        "channels": _format_counts(stats["channels"]),
        "format": _format_counts(stats["formats"]),
        "silence": f"{stats['silent_share']:.1%} of the sound",
        "clipping": f"{stats['clipped_share']:.3%} of the sound",
        "labels": f"{len(stats['labels']):,}; {_join_first(f'{times:,} clips with {n}' for n, times in per_clip)}",
        "folds": f"{len(stats['folds'])}, of {n_groups:,} groups",
    }


def _format_subsets(parts: dict[str, float], form: Callable[[float], str]) -> str:
    """The whole, and its parts if there is more than one."""
    named = [f"{name} {form(value)}" for name, value in parts.items() if name != "all" and value]
    return form(parts["all"]) + (f": {', '.join(named)}" if len(named) > 1 else "")


def _format_duration(hours: float) -> str:
    """A duration in the unit that suits it."""
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.1f} s"


def _format_quantiles(quantiles: dict[str, float], form: str) -> str:
    texts = {name: form.format(value) for name, value in quantiles.items()}
    return "{least} to {most}, median {median}, nine in ten {p5} to {p95}".format(**texts)


def _format_counts(counts: dict[str, int]) -> str:
    return _join_first(f"{name} ({times:,})" for name, times in counts.items())


def _join_first(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    texts = list(texts)
    more = len(texts) - MAX_EXAMPLES
    return ", ".join(texts[:MAX_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def _label_table(stats: DatasetStatistics) -> list[str]:
    """A line a label, the most frequent first: clips, a bar, clips by subset, duration, and training clips by fold."""
    labels = sorted(stats["labels"], key=lambda label: -label["clips"]["all"])
    most = max(1, labels[0]["clips"]["all"])
    subsets = [subset for subset in SUBSETS if stats["clips"][subset]]
    rows = [
        {
            "clips": f"{label['clips']['all']:,}",
            "": _bar(label["clips"]["all"] / most),
            **{subset: f"{label['clips'][subset]:,}" for subset in subsets if len(subsets) > 1},
            "sound": _format_duration(label["hours"]),
            **{f"fold {fold}": f"{label['by_fold'][fold]:,}" for fold in list(stats["folds"])[:MAX_FOLDS]},
        }
        for label in labels
    ]
    table = pd.DataFrame(rows, [label["label"] for label in labels])
    if len(table) > MAX_LABELS:
        half = MAX_LABELS // 2
        gap = pd.DataFrame("", [f"… {len(table) - MAX_LABELS:,} between, see survey.json …"], table.columns)
        table = pd.concat([table[:half], gap, table[-half:]])
    with pd.option_context("display.unicode.east_asian_width", True):  # two columns for a wide character
        return table.rename_axis("label", axis=1).to_string().splitlines()


def _bar(share: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(share * BAR_WIDTH * 8)
    return ("█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]).ljust(BAR_WIDTH)


def _co_occurring_labels(stats: DatasetStatistics) -> list[str]:
    """Pairs of labels that clips have together, the most frequent first."""
    names = [label["label"] for label in stats["labels"]]
    pairs = [
        (-times, names[row], names[column])
        for row, counts in enumerate(stats["co_occurrence"])
        for column, times in enumerate(counts[:row])
        if times
    ]
    return [f"{first} + {second} ({-times:,})" for times, first, second in sorted(pairs)]


def find_warnings(stats: DatasetStatistics) -> dict[str, list[str]]:
    """Things to check before training: headlines, and the clips or labels they are about, at least one each."""
    recordings = stats["recordings"]
    silent = [one["clip"] for one in recordings if one["silent_share"] >= SILENT_SHARE]
    clipped = [one for one in recordings if one["clipped_share"] >= CLIPPED_SHARE]
    clipped.sort(key=lambda one: -one["clipped_share"])
    across = [leak["clip"] for leak in stats["leaks"]]
    within = [clips for clips in stats["duplicates"] if clips not in across]
    gaps = [(label["label"], fold) for label in stats["labels"] for fold, n in label["by_fold"].items() if not n]
    found = {
        "recordings that cannot be read": [f"{one['clip']}: {one['reason']}" for one in stats["unreadable"]],
        "recordings to check": [f"{one['clip']}: {one['warning']}" for one in recordings if one["warning"]],
        "recordings of silence": silent,
        "clipped recordings": [f"{one['clip']}: {one['clipped_share']:.1%} of its samples" for one in clipped],
        "sounds in two folds, or in training and test": [
            _join_same(leak["clip"], ("test" if fold == TEST_FOLD else f"fold {fold}" for fold in leak["fold"]))
            for leak in stats["leaks"]
        ],
        "sounds twice in a fold or in the test clips": [" = ".join(clips) for clips in within],
        "sounds labelled in two ways": [
            _join_same(one["clip"], (LABELS_IN_WORDS.get(labels, labels) for labels in one["labels"]))
            for one in stats["conflicting_labels"]
        ],
        "groups with training and test clips": stats["groups_in_train_and_test"],
        "folds without a clip of a label, so without a score for it": [f"{label} in {fold}" for label, fold in gaps],
        "left out": stats["warnings"],
    }
    return {headline: items for headline, items in found.items() if items}


def _join_same(clips: Iterable[str], remarks: Iterable[str]) -> str:
    return " = ".join(f"{clip} ({remark})" for clip, remark in zip(clips, remarks, strict=True))
