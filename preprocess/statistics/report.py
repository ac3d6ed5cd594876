"""A dataset's statistics as lines for a terminal, the warnings last."""

from collections.abc import Callable, Iterable, Iterator
from unicodedata import combining, east_asian_width

from preprocess.statistics.dataset import DatasetStatistics

BAR_WIDTH = 24
MAX_LABELS = 40
MAX_FOLDS = 10
MAX_EXAMPLES = 5
SILENT_CLIP = 0.999
CLIPPED_CLIP = 0.001
"""A clip is called clipped from one sample in a thousand."""


def format_report(stats: DatasetStatistics) -> Iterator[str]:
    """What is there, the labels and folds, then what to look at before training."""
    yield from _overview(stats)
    yield ""
    yield from _label_table(stats)
    yield ""
    if pairs := _co_occurring_labels(stats):
        yield _format_row("together", _join_first(f"{first} + {second} {times}" for times, first, second in pairs))
    warnings = list(_warnings(stats))
    for headline, items in warnings:
        yield f"! {headline}"
        yield from (f"    {item}" for item in items)
    if not warnings:
        yield _format_row("warnings", "none: every recording can be read, none is there twice, no fold leaks")


def _overview(stats: DatasetStatistics) -> Iterator[str]:
    yield _format_row("clips", _format_subsets(stats["clips"], "{:,}".format))
    yield _format_row("sound", _format_subsets(stats["hours"], _format_duration))
    if not stats["recordings"]:
        return
    lengths, levels = stats["lengths_s"], stats["levels_db"]
    yield _format_row("length", _format_quantiles(lengths, "{:.2f}") + " s")
    yield _format_row("level", _format_quantiles(levels, "{:.1f}") + " dB of full scale")
    yield _format_row(
        "rate", _join_first(f"{int(rate) / 1000:g} kHz {times:,}" for rate, times in stats["rates_hz"].items())
    )
    yield _format_row("channels", _join_first(f"{channels} {times:,}" for channels, times in stats["channels"].items()))
    yield _format_row("format", _join_first(f"{name} {times:,}" for name, times in stats["formats"].items()))
    yield _format_row("silence", f"{stats['silent_share']:.1%} of the sound")
    yield _format_row("clipping", f"{stats['clipped_share']:.3%} of the sound")
    per_clip = sorted(stats["labels_per_clip"].items(), key=lambda pair: int(pair[0]))
    yield _format_row(
        "labels", f"{len(stats['labels']):,}; " + _join_first(f"{times:,} clips with {n}" for n, times in per_clip)
    )
    groups = sum(fold["groups"] for fold in stats["folds"].values())
    yield _format_row("folds", f"{len(stats['folds'])}, of {groups:,} groups")


def _format_row(name: str, text: str) -> str:
    return f"{name:<10}{text}"


def _format_subsets(parts: dict[str, float], form: Callable[[float], str]) -> str:
    """The whole, and its parts where there is more than one."""
    named = [f"{name} {form(value)}" for name, value in parts.items() if name != "all" and value]
    return form(parts["all"]) + (f": {', '.join(named)}" if len(named) > 1 else "")


def _format_duration(hours: float) -> str:
    """A length of sound in the unit that suits it."""
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.1f} s"


def _format_quantiles(quantiles: dict[str, float], form: str) -> str:
    least, median, most = (form.format(quantiles[name]) for name in ("least", "median", "most"))
    inner = " to ".join(form.format(quantiles[name]) for name in ("p5", "p95"))
    return f"{least} to {most}, median {median}, nine in ten {inner}"


def _join_first(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    texts = list(texts)
    more = len(texts) - MAX_EXAMPLES
    return ", ".join(texts[:MAX_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def _label_table(stats: DatasetStatistics) -> Iterator[str]:
    """A line a label, the most frequent first: a bar, clips by part, length of sound, and training clips by fold."""
    labels = sorted(stats["labels"], key=lambda label: -label["clips"]["all"])
    shown = labels if len(labels) <= MAX_LABELS else [*labels[: MAX_LABELS // 2], *labels[-MAX_LABELS // 2 :]]
    parts = [part for part in ("curated", "noisy", "test") if stats["clips"][part]]
    parts = parts if len(parts) > 1 else []
    folds = list(stats["folds"])[:MAX_FOLDS]
    width = max(5, *(_width(label["label"]) for label in shown))
    most = max(1, labels[0]["clips"]["all"])
    part_names = "".join(f"{part:>9}" for part in parts)
    yield f"{'label':<{width}}  {'clips':>6} {'':<{BAR_WIDTH}}{part_names}{'sound':>10}  fold" + _cells(folds, 5)
    for position, label in enumerate(shown):
        if position == MAX_LABELS // 2 and len(shown) < len(labels):
            yield f"… {len(labels) - len(shown):,} labels between, see survey.json …"
        clips = label["clips"]
        name = label["label"] + " " * (width - _width(label["label"]))
        counts = _cells((f"{clips[part]:,}" for part in parts), 9)
        by_fold = _cells((f"{label['by_fold'][fold]:,}" for fold in folds), 5)
        bar = _bar(clips["all"] / most)
        duration = _format_duration(label["hours"])
        yield f"{name}  {clips['all']:>6,} {bar:<{BAR_WIDTH}}{counts}{duration:>10}      {by_fold}"


def _cells(texts: Iterable[str], width: int) -> str:
    return "".join(f"{text:>{width}}" for text in texts)


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes: two for a wide character, none for a combining one."""
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _bar(share: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _co_occurring_labels(stats: DatasetStatistics) -> list[tuple[int, str, str]]:
    """Labels that clips have together, the most frequent first."""
    names, counts = [label["label"] for label in stats["labels"]], stats["co_occurrence"]
    pairs = [
        (counts[row][column], names[row], names[column])
        for row in range(len(names))
        for column in range(row)
        if counts[row][column]
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))


def _warnings(stats: DatasetStatistics) -> Iterator[tuple[str, list[str]]]:
    """What to look at before training: a headline, and the clips or labels it is about."""
    recordings = stats["recordings"]
    clipped = sorted((one for one in recordings if one["clipped_share"] >= CLIPPED_CLIP), key=_clipped_first)
    gaps = [(label["label"], fold) for label in stats["labels"] for fold, n in label["by_fold"].items() if not n]
    across = {tuple(leak["clip"]) for leak in stats["leaks"]}
    within = [clips for clips in stats["duplicates"] if tuple(clips) not in across]
    about = {
        "recording(s) cannot be read": [f"{one['clip']}: {one['reason']}" for one in stats["unreadable"]],
        "recording(s) are silent throughout": [one["clip"] for one in recordings if one["silent_share"] >= SILENT_CLIP],
        "recording(s) are clipped": [f"{one['clip']}: {one['clipped_share']:.1%} of its samples" for one in clipped],
        "sound(s) are in two folds, or in training and test": [_leak(leak) for leak in stats["leaks"]],
        "sound(s) are there twice within a fold or the test clips": [" = ".join(clips) for clips in within],
        "sound(s) are labelled in two ways": [_conflicting_labels(one) for one in stats["conflicting_labels"]],
        "group(s) have training and test clips": stats["groups_in_train_and_test"],
        "time(s) a label has no clip in a fold, so no score there": [f"{name} in {fold}" for name, fold in gaps],
        "thing(s) were left out": stats["warnings"],
    }
    for headline, items in about.items():
        if items:
            more = [f"and {len(items) - MAX_EXAMPLES:,} more, see survey.json"] if len(items) > MAX_EXAMPLES else []
            yield f"{len(items):,} {headline}", [*items[:MAX_EXAMPLES], *more]


def _clipped_first(one: DatasetStatistics) -> float:
    return -float(one["clipped_share"])


def _leak(leak: DatasetStatistics) -> str:
    places = [
        "test" if split == "test" else f"fold {fold}" for split, fold in zip(leak["split"], leak["fold"], strict=True)
    ]
    return " = ".join(f"{clip} ({place})" for clip, place in zip(leak["clip"], places, strict=True))


def _conflicting_labels(one: DatasetStatistics) -> str:
    return " = ".join(f"{clip} ({labels or '?'})" for clip, labels in zip(one["clip"], one["labels"], strict=True))
