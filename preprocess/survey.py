"""SCRIPT  make survey: what is in the data before one trains, in the terminal and in survey.json."""

import json
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from core.entrypoint import run_script
from core.errors import BadInput
from core.files import written_whole
from core.parallel import apart
from core.progress import Progress
from preprocess.dataset.loader import read_layout
from preprocess.statistics.dataset import take_stock
from preprocess.statistics.measure import Heard, Unheard, listen
from preprocess.statistics.report import stock_lines
from recipe.cli import count_jobs, read_command


def listen_to_all(paths: Sequence[str], n_jobs: int) -> list[Heard | Unheard]:
    """Measure every recording, in the order of `paths`."""
    measured = []
    with Progress(len(paths)) as progress:
        for one in apart(listen, paths, n_jobs):
            measured.append(one)
            progress.add(one.duration_s if isinstance(one, Heard) else 0.0, isinstance(one, Unheard))
    return measured


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that listen; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "What is in a dataset, before training on it.", add_options)
    n_jobs = count_jobs(command.options.jobs)
    layout = read_layout(command.recipe.data)
    stock = take_stock(layout, listen_to_all(list(layout.table["path"]), n_jobs))
    stock = {"layout": command.recipe.data.layout, "folder": str(layout.folder), **stock}
    path = command.places.home / "survey.json"
    try:
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(stock, ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}): make room, or name another --cache") from None
    print(f"{command.recipe.name}: layout {stock['layout']} in {stock['folder']}\n")
    print("\n".join(stock_lines(stock)))
    print(f"\nall of it: {path}")


if __name__ == "__main__":
    run_script(main)
