"""SCRIPT make runs: all runs with scores, spread and differing keys, in the terminal and as one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from core.entrypoint import log_warning, run_script
from core.errors import UserError
from core.files import atomic_write
from report.html_pages import TEMPLATES, render_page
from report.run_table import RunSummary, difference_table, read_runs, score_table, seed_table

PAGE_NAME = "runs.html"
CURVES = {"lwlrap": "lwlrap of the held-out clips", "val_loss": "loss of the held-out clips", "train_loss": "loss"}
WIDTH, HEIGHT = 600, 240
"""Of a chart, in its own units."""
HUE_STEP = 137.5
"""Degrees from one run's colour to the next one's: the golden angle, so that neighbours never look alike."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(exit_on_error=False, description="Compare the runs of every dataset in the cache.")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="Folder of stores and runs.")
    parser.add_argument("--datasets", nargs="+", help="Folders of the cache to show; by default all that have runs.")
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(f"{error}; see --help") from None
    names = options.datasets or sorted({path.parents[2].name for path in options.cache.glob("*/runs/*/recipe.yaml")})
    datasets: dict[str, list[RunSummary]] = {}
    for name in names:
        try:
            datasets[name] = read_runs(options.cache / name)
        except UserError as error:
            log_warning(f"{name} is left out: {error}")
    datasets = {name: runs for name, runs in datasets.items() if runs}
    if not datasets:
        raise UserError(f"{options.cache} has no runs: run make train first, or name another --cache")
    for name, runs in datasets.items():
        tables = (score_table(runs), seed_table(runs), difference_table(runs).rename_axis(None))
        print(f"{name}: {len(runs)} runs, scored out of fold")
        for table, is_indexed in zip(tables, (False, False, True), strict=True):
            if len(table):
                print(table.to_string(index=is_indexed, float_format="%.4f", na_rep=""), end="\n\n")
    page = options.cache / PAGE_NAME
    html = render_page(TEMPLATES / "runs.html.j2", datasets=[_dataset_values(*each) for each in datasets.items()])
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"the page: {page}")


def _dataset_values(name: str, runs: Sequence[RunSummary]) -> dict[str, Any]:
    """What the page shows of a dataset: tables as their columns and rows, and charts."""
    tables = {
        "scores": score_table(runs),
        "seeds": seed_table(runs),
        "differences": difference_table(runs).rename_axis("key").reset_index(),
    }
    colours = {run.name: f"hsl({(210 + number * HUE_STEP) % 360:.0f} 65% 50%)" for number, run in enumerate(runs)}
    charts = [_chart(title, {run.name: run.curve(column) for run in runs}, colours) for column, title in CURVES.items()]
    contents = {key: (list(table), table.to_numpy().tolist()) for key, table in tables.items() if len(table)}
    return {"name": name, "colours": colours, "charts": list(filter(None, charts)), **contents}


def _chart(title: str, curves: Mapping[str, list[float]], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """Curves over epochs as SVG polylines; None where there are none."""
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return None
    low, high, n_epochs = min(values), max(values), max(map(len, curves.values()))
    x_step, y_scale = WIDTH / max(1, n_epochs - 1), HEIGHT / max(high - low, 1e-9)
    lines = [
        (
            run,
            colours[run],
            " ".join(f"{epoch * x_step:.1f},{(high - y) * y_scale:.1f}" for epoch, y in enumerate(curve)),
        )
        for run, curve in curves.items()
        if curve
    ]
    return {"title": title, "low": low, "high": high, "n_epochs": n_epochs, "lines": lines, "size": (WIDTH, HEIGHT)}


if __name__ == "__main__":
    run_script(main)
