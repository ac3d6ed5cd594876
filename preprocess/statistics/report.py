"""A dataset's stock as lines for a terminal, the worries last."""

from collections.abc import Callable, Iterable, Iterator
from unicodedata import combining, east_asian_width

from preprocess.statistics.dataset import Stock

BAR = 24
MOST_LABELS = 40
MOST_FOLDS = 10
MOST_NAMED = 5
SILENT_CLIP = 0.999
CLIPPED_CLIP = 0.001
"""A clip is called clipped from one sample in a thousand."""


def stock_lines(stock: Stock) -> Iterator[str]:
    """What is there, the labels and folds, then what to look at before training."""
    yield from _overview(stock)
    yield ""
    yield from _label_table(stock)
    yield ""
    if pairs := _pairs(stock):
        yield _row("together", _listed(f"{first} + {second} {times}" for times, first, second in pairs))
    worries = list(_worries(stock))
    for headline, items in worries:
        yield f"! {headline}"
        yield from (f"    {item}" for item in items)
    if not worries:
        yield _row("worries", "none: every recording can be read, none is there twice, no fold leaks")


def _overview(stock: Stock) -> Iterator[str]:
    yield _row("clips", _parts(stock["clips"], "{:,}".format))
    yield _row("sound", _parts(stock["hours"], _time))
    if not stock["recordings"]:
        return
    lengths, levels = stock["lengths_s"], stock["levels_db"]
    yield _row("length", _spread(lengths, "{:.2f}") + " s")
    yield _row("level", _spread(levels, "{:.1f}") + " dB of full scale")
    yield _row("rate", _listed(f"{int(rate) / 1000:g} kHz {times:,}" for rate, times in stock["rates_hz"].items()))
    yield _row("channels", _listed(f"{channels} {times:,}" for channels, times in stock["channels"].items()))
    yield _row("format", _listed(f"{name} {times:,}" for name, times in stock["formats"].items()))
    yield _row("silence", f"{stock['silent_share']:.1%} of the sound")
    yield _row("clipping", f"{stock['clipped_share']:.3%} of the sound")
    per_clip = sorted(stock["labels_per_clip"].items(), key=lambda pair: int(pair[0]))
    yield _row("labels", f"{len(stock['labels']):,}; " + _listed(f"{times:,} clips with {n}" for n, times in per_clip))
    groups = sum(fold["groups"] for fold in stock["folds"].values())
    yield _row("folds", f"{len(stock['folds'])}, of {groups:,} groups")


def _row(name: str, text: str) -> str:
    return f"{name:<10}{text}"


def _parts(parts: dict[str, float], form: Callable[[float], str]) -> str:
    """The whole, and its parts where there is more than one."""
    named = [f"{name} {form(value)}" for name, value in parts.items() if name != "all" and value]
    return form(parts["all"]) + (f": {', '.join(named)}" if len(named) > 1 else "")


def _time(hours: float) -> str:
    """A length of sound in the unit that suits it."""
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.1f} s"


def _spread(quantiles: dict[str, float], form: str) -> str:
    least, median, most = (form.format(quantiles[name]) for name in ("least", "median", "most"))
    inner = " to ".join(form.format(quantiles[name]) for name in ("p5", "p95"))
    return f"{least} to {most}, median {median}, nine in ten {inner}"


def _listed(texts: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    texts = list(texts)
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _label_table(stock: Stock) -> Iterator[str]:
    """A line a label, the most frequent first: a bar, clips by part, length of sound, and training clips by fold."""
    labels = sorted(stock["labels"], key=lambda label: -label["clips"]["all"])
    shown = labels if len(labels) <= MOST_LABELS else [*labels[: MOST_LABELS // 2], *labels[-MOST_LABELS // 2 :]]
    parts = [part for part in ("curated", "noisy", "test") if stock["clips"][part]]
    parts = parts if len(parts) > 1 else []
    folds = list(stock["folds"])[:MOST_FOLDS]
    width = max(5, *(_width(label["label"]) for label in shown))
    most = max(1, labels[0]["clips"]["all"])
    part_names = "".join(f"{part:>9}" for part in parts)
    yield f"{'label':<{width}}  {'clips':>6} {'':<{BAR}}{part_names}{'sound':>10}  fold" + _cells(folds, 5)
    for place, label in enumerate(shown):
        if place == MOST_LABELS // 2 and len(shown) < len(labels):
            yield f"… {len(labels) - len(shown):,} labels between, see survey.json …"
        clips = label["clips"]
        name = label["label"] + " " * (width - _width(label["label"]))
        counts = _cells((f"{clips[part]:,}" for part in parts), 9)
        by_fold = _cells((f"{label['by_fold'][fold]:,}" for fold in folds), 5)
        bar = _bar(clips["all"] / most)
        yield f"{name}  {clips['all']:>6,} {bar:<{BAR}}{counts}{_time(label['hours']):>10}      {by_fold}"


def _cells(texts: Iterable[str], width: int) -> str:
    return "".join(f"{text:>{width}}" for text in texts)


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes: two for a wide character, none for a combining one."""
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _bar(share: float) -> str:
    """A bar of eighths of a character."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def _pairs(stock: Stock) -> list[tuple[int, str, str]]:
    """Labels that clips have together, the most frequent first."""
    names, counts = [label["label"] for label in stock["labels"]], stock["co_occurrence"]
    pairs = [
        (counts[row][column], names[row], names[column])
        for row in range(len(names))
        for column in range(row)
        if counts[row][column]
    ]
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))


def _worries(stock: Stock) -> Iterator[tuple[str, list[str]]]:
    """What to look at before training: a headline, and the clips or labels it is about."""
    recordings = stock["recordings"]
    clipped = sorted((one for one in recordings if one["clipped_share"] >= CLIPPED_CLIP), key=_clipped_first)
    gaps = [(label["label"], fold) for label in stock["labels"] for fold, n in label["by_fold"].items() if not n]
    across = {tuple(leak["clip"]) for leak in stock["leaks"]}
    within = [clips for clips in stock["duplicates"] if tuple(clips) not in across]
    about = {
        "recording(s) cannot be read": [f"{one['clip']}: {one['reason']}" for one in stock["unreadable"]],
        "recording(s) are silent throughout": [one["clip"] for one in recordings if one["silent_share"] >= SILENT_CLIP],
        "recording(s) are clipped": [f"{one['clip']}: {one['clipped_share']:.1%} of its samples" for one in clipped],
        "sound(s) are in two folds, or in training and test": [_leak(leak) for leak in stock["leaks"]],
        "sound(s) are there twice within a fold or the test clips": [" = ".join(clips) for clips in within],
        "sound(s) are labelled in two ways": [_at_odds(one) for one in stock["labels_at_odds"]],
        "group(s) have training and test clips": stock["groups_in_train_and_test"],
        "time(s) a label has no clip in a fold, so no score there": [f"{name} in {fold}" for name, fold in gaps],
        "thing(s) were left out": stock["notes"],
    }
    for headline, items in about.items():
        if items:
            more = [f"and {len(items) - MOST_NAMED:,} more, see survey.json"] if len(items) > MOST_NAMED else []
            yield f"{len(items):,} {headline}", [*items[:MOST_NAMED], *more]


def _clipped_first(one: Stock) -> float:
    return -float(one["clipped_share"])


def _leak(leak: Stock) -> str:
    places = [
        "test" if split == "test" else f"fold {fold}" for split, fold in zip(leak["split"], leak["fold"], strict=True)
    ]
    return " = ".join(f"{clip} ({place})" for clip, place in zip(leak["clip"], places, strict=True))


def _at_odds(one: Stock) -> str:
    return " = ".join(f"{clip} ({labels or '?'})" for clip, labels in zip(one["clip"], one["labels"], strict=True))
