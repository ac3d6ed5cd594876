"""From a command line to a recipe's keys and a script's own options, or to options alone."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from core.errors import UserError
from core.paths import RunPaths
from core.resources import available_cores
from recipe import SECTIONS, Recipe

RENAMED_KEYS = {
    "features.rate_hz": "features.sample_rate_hz",
    "features.hop_samples": "features.hop_length",
    "features.centre": "features.center",
    "training.label_rule": "training.label_mixing",
    "training.short_clips": "training.short_clip_padding",
    "training.average": "training.ema_decay",
    "training.masks": "training.max_masks",
    "training.teacher_keeps": "training.teacher_keep_threshold",
    "training.teacher_adds": "training.teacher_add_threshold",
    "prediction.view_copies": "prediction.view_offline_augment",
    "tuning.entries": "tuning.intermittent_probability",
}
"""Keys of earlier versions, and what they are called now."""


@dataclass(frozen=True)
class Command:
    """What a script was asked to do."""

    recipe: Recipe
    run_paths: RunPaths
    options: Namespace
    """The script's own options, by name."""


def resolve_n_jobs(jobs: int) -> int:
    """Processes that `--jobs` asks for: -1 is one a core. Raises UserError."""
    if jobs != -1 and jobs < 1:
        raise UserError(f"--jobs {jobs}: give a number of processes, or -1 for one a core")
    return jobs if jobs > 0 else available_cores()


def add_device_options(parser: ArgumentParser) -> None:
    """Where networks answer, and with how many cores: of the scripts in which they do."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=int, default=-1, help="Cores to keep busy; -1 is all.")


class OptionParser(argparse.ArgumentParser):
    """For scripts that take no recipe's keys: argparse's own, whose complaints are UserError."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def build_parser(description: str, add_options: Callable[[ArgumentParser], Any] | None = None) -> ArgumentParser:
    """The parser of a script: the recipe's sections, the paths, and the script's own options."""
    parser = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--recipe", action="config", help="YAML file of the recipe.")
    parser.add_argument("--name", type=str | None, help="Name of the cache folder; by default the recipe file's.")
    parser.add_argument("--run", type=str | None, help="Name of the run; by default the recipe's.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--submissions", type=str, default="submissions", help="Folder of CSVs.")
    for name, section in SECTIONS.items():
        parser.add_class_arguments(section, name)
    if add_options:
        add_options(parser)
    return parser


def parse_command(
    arguments: Sequence[str] | None,
    description: str,
    add_options: Callable[[ArgumentParser], Any] | None = None,
) -> Command:
    """Read a command line (None: the process's own). Raises UserError that names the key, the value and the bounds."""
    parser = build_parser(description, add_options)
    arguments = [_normalize_option(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    try:
        values = parser.parse_args(arguments)
        parts = parser.instantiate(values)
    except (ArgumentError, UnicodeDecodeError) as error:
        _check_recipe_files(arguments)
        raise UserError(
            f"{error}{_new_names(str(error))}; see --help for the keys and --print_config for their values"
        ) from None
    _check_recipe_files(arguments)
    files = [file.relative for file in parts.recipe or [] if file]
    name = parts.name or (Path(files[-1]).stem if files else "recipe")
    run = parts.run or name
    for key, value in (("--name", name), ("--run", run)):
        if not value or value.startswith(".") or set(value) & set("/\\\0\n"):
            raise UserError(f"{key} {value!r} cannot name a folder: use letters, digits, '-' and '_'")
    run_paths = RunPaths(Path(parts.cache), Path(parts.submissions), name, run)
    if conflicting_run := run_paths.conflicting_run():
        raise UserError(
            f"--run {run!r}: its files would take the place of those of run {conflicting_run!r}: choose another name"
        )
    recipe = Recipe(name=name, **{section: parts[section] for section in SECTIONS})
    return Command(recipe, run_paths, parts)


def _new_names(message: str) -> str:
    """What keys that a parser's message does not know are called now, for those of earlier versions."""
    named = []
    for old, new in RENAMED_KEYS.items():
        section, _, key = old.partition(".")
        if re.search(rf"--{old}\b|'{section}' does not accept option '{key}'", message):
            named.append(f" ({old} is called {new} now)")
    return "".join(named)


def _normalize_option(argument: str) -> str:
    """An option's name as the parser knows it: `--max-failures` is `--max_failures`. Values stay as they are."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which no key stands twice: of two, the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                raise yaml.MarkedYAMLError(None, None, f"key {key.value!r} stands there twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _check_recipe_files(arguments: Sequence[str]) -> None:
    """Raise UserError that names a recipe's file where it is no YAML of keys: of those the parser says no name."""
    for before, argument in pairwise(["", *arguments]):
        path = Path(argument.removeprefix("--recipe=") if argument.startswith("--recipe=") else argument)
        # Path.is_file raises OSError for a recipe given as text that is longer than a name may be.
        is_file = os.path.isfile(path)  # noqa: PTH113
        if (before != "--recipe" and not argument.startswith("--recipe=")) or not is_file:
            continue
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
        except UnicodeDecodeError as error:
            raise UserError(f"--recipe {path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
        except yaml.YAMLError as error:
            where = getattr(error, "problem_mark", None)
            line = f" in line {where.line + 1}" if where else ""
            raise UserError(f"--recipe {path} is no YAML ({getattr(error, 'problem', None) or error}{line})") from None
        if not isinstance(values, dict):
            raise UserError(f"--recipe {path} holds no keys: write sections, as the files in recipes/ have them")
