"""SCRIPT make runs: all runs with scores, spread and differing keys, in the terminal and as one page."""

from core.entrypoint import run_script

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import ArgumentParser

from core.errors import UserError
from recipe.cli import parse_own_options
from report.html_pages import TEMPLATES, write_page
from report.media.charts import Line, make_chart, pick_colour
from report.training.run_table import RunSummary, difference_table, read_runs, score_table, seed_table

PAGE_NAME = "runs.html"
CURVES = {"lwlrap": "lwlrap of the held-out clips", "val_loss": "loss of the held-out clips", "train_loss": "loss"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(exit_on_error=False, description="Compare the runs of every dataset in the cache.")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="Folder of stores and runs.")
    parser.add_argument("--datasets", nargs="+", help="Folders of the cache to show; by default all that have runs.")
    options = parse_own_options(parser, arguments)
    names = options.datasets or sorted(
        {path.parents[2].name for path in options.cache.glob("*/runs/[!.]*/recipe.yaml")}
    )
    if not names:
        raise UserError(f"{options.cache} has no runs: run make train first, or name another --cache")
    datasets = {name: read_runs(options.cache / name) for name in names}
    if without := [name for name, runs in datasets.items() if not runs]:
        raise UserError(
            f"--datasets {without[0]}: {options.cache / without[0]} has no runs; name a folder that has some"
        )
    contents = []
    for name, runs in datasets.items():
        tables = {"scores": score_table(runs), "seeds": seed_table(runs), "differences": difference_table(runs)}
        print(f"{name}: {len(runs)} runs, scored out of fold")
        for key, table in tables.items():
            if len(table):
                print(table.to_string(index=key == "differences", float_format="%.4f", na_rep=""), end="\n\n")
        tables["differences"] = tables["differences"].rename_axis("key").reset_index(allow_duplicates=True)
        contents.append(_dataset_values(name, runs, tables))
    page = options.cache / PAGE_NAME
    write_page(page, TEMPLATES / "runs.html.j2", datasets=contents)
    print(f"the page: {page}")


def _dataset_values(name: str, runs: Sequence[RunSummary], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What the page shows of a dataset: tables as their columns and rows, and charts."""
    colours = {run.name: pick_colour(number) for number, run in enumerate(runs)}
    charts = [
        make_chart(
            f"{title}, mean over networks",
            "epoch",
            [Line(run.name, colours[run.name], list(enumerate(run.curve(column), start=1))) for run in runs],
        )
        for column, title in CURVES.items()
    ]
    contents = {key: (list(table), table.to_numpy().tolist()) for key, table in tables.items() if len(table)}
    return {"name": name, "colours": colours, "charts": list(filter(None, charts)), **contents}


if __name__ == "__main__":
    run_script(main)
