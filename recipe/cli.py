"""From a command line to a recipe and a script's own options."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_loader, set_parsing_settings

from core.errors import UserError
from core.paths import RunPaths
from core.resources import available_cores
from recipe import SECTIONS, Recipe
from recipe.recipe_file import RecipeFileError, load_texts, parse_recipe, read_recipe_file

OLD_KEYS = {
    "features.rate_hz": "is called features.sample_rate_hz now",
    "features.hop_samples": "is called features.hop_length now",
    "features.centre": "is called features.center now",
    "training.label_rule": "is called training.label_mixing now",
    "training.short_clips": "is called training.short_clip_padding now",
    "training.average": "is called training.ema_decay now",
    "training.masks": "is called training.max_masks now",
    "training.teacher_keeps": "is called training.teacher_keep_threshold now",
    "training.teacher_adds": "is called training.teacher_add_threshold now",
    "tuning.entries": "is called tuning.intermittent_probability now",
    "prediction.top_k": "is gone: use prediction.pooling mean or max",
    "prediction.power": "is gone: use prediction.pooling mean or max",
    "prediction.view_copies": "is gone: use prediction.view_shifts_s or prediction.view_gains_db",
    "prediction.view_offline_augment": "is gone: use prediction.view_shifts_s or prediction.view_gains_db",
    "prediction.view_windows_s": "is gone: use prediction.view_shifts_s or prediction.view_gains_db",
}
"""Keys of earlier versions, and what became of them."""

set_loader("yaml", load_texts, (yaml.YAMLError,))
set_parsing_settings(docstring_parse_attribute_docstrings=True)  # else --help leaves out what is said of a key
ROOT = Path(__file__).parents[1]
STEP_FLOORS = ("preprocess", "train", "predict", "report", "serve")
PATH_OPTIONS = ("input", "truth", "to", "submission", "out")
"""In these ~ is the home folder; the shell replaces it neither in quotes nor, in zsh, in INPUT=~/x."""
STEP_OPTION = re.compile(r'\badd_argument\(\s*"(--\w+)"')

AddOptions = Callable[[ArgumentParser], Any]


@dataclass(frozen=True)
class Command:
    """A parsed command line; `options` holds the script's own."""

    recipe: Recipe
    run_paths: RunPaths
    options: Namespace
    given: frozenset[str] = frozenset()
    """Keys and options that the command line itself names, and not a recipe file."""


def resolve_n_jobs(jobs: int) -> int:
    """The number of processes for `--jobs`. Raises UserError."""
    if jobs != -1 and jobs < 1:
        raise UserError(f"--jobs {jobs}: give a number of processes, or -1 for one a core")
    return jobs if jobs > 0 else available_cores()


def add_device_options(parser: ArgumentParser, devices: str = "auto, cpu, cuda or cuda:1.") -> None:
    """Add the options of scripts that run networks; `devices` says what they may run on."""
    parser.add_argument("--device", type=str, default="auto", help=devices)
    parser.add_argument("--jobs", type=int, default=-1, help="Cores to keep busy; -1 is all.")


@cache  # a process that runs several commands, as tests do, would spend half of each one's parsing here
def _build_parser(description: str, add_options: AddOptions | None) -> ArgumentParser:
    parser = ArgumentParser(description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--recipe", action="config", help="YAML file of the recipe.")
    parser.add_argument("--name", type=str, help="Name of the cache folder; by default the recipe file's.")
    parser.add_argument("--run", type=str, help="Name of the run; by default the recipe's.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--submissions", type=str, default="submissions", help="Folder of submissions, a folder a run.")
    for name, section in SECTIONS.items():
        parser.add_class_arguments(section, name)
    if add_options:
        add_options(parser)
    return parser


def parse_command(arguments: Sequence[str] | None, description: str, add_options: AddOptions | None = None) -> Command:
    """Read a command line (None: the process's own). Raises UserError that names the key, the value and the bounds."""
    parser = _build_parser(description, add_options)
    arguments = [_normalize_option(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    arguments = _select_own_options(parser, arguments)
    _check_recipe_files(arguments)
    try:
        parts = parser.instantiate(parser.parse_args(arguments))
    except (ArgumentError, UnicodeDecodeError) as error:
        raise UserError(
            f"{error}{_explain_old_keys(str(error))}; see --help for the keys and --print_config for their values"
        ) from None
    files = [file.relative for file in parts.recipe or [] if file]
    name = parts.name or (Path(files[-1]).stem if files else "recipe")
    run = parts.run or name
    for key, value in (("--name", name), ("--run", run)):
        if not value or value.startswith(".") or set(value) & set("/\\\0\n"):
            raise UserError(f"{key} {value!r} cannot name a folder: use letters, digits, '-' and '_'")
    for key in PATH_OPTIONS:
        if parts.get(key):
            parts[key] = os.path.expanduser(parts[key])  # noqa: PTH111 (an option is text)
    recipe = Recipe(name=name, **{section: parts[section] for section in SECTIONS})
    given = frozenset(each.partition("=")[0][2:].rstrip("+") for each in arguments if each.startswith("--"))
    return Command(recipe, RunPaths(Path(parts.cache), Path(parts.submissions), name, run), parts, given)


def parse_own_options(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """The options of a script without a recipe. Raises UserError."""
    try:
        return parser.parse_args(arguments)
    except ArgumentError as error:
        raise UserError(f"{error}; see --help") from None


def _select_own_options(parser: ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """The arguments without the options, and their values, of other steps: ARGS goes to every step of a make command.

    Says which these are. Raises UserError for an option that no step has, with the one most like it.
    """
    known = {option for action in parser._actions for option in action.option_strings}
    own: list[str] = []
    is_own = True
    for argument in arguments:
        if argument.startswith("--"):
            name = argument.partition("=")[0].rstrip("+")  # + appends to a list
            is_own = name in known
            if not is_own:
                others = find_step_options()
                if name not in others:
                    like = get_close_matches(name, [*known, *others], 1)
                    advice = f", do you mean {like[0]}?" if like else ""
                    explained = _explain_old_keys(name)
                    raise UserError(f"no step has {name}{explained or advice}; see --help for the keys and options")
                print(f"{name} is an option of another step and does nothing here", file=sys.stderr)
        if is_own:
            own.append(argument)
    return own


def find_step_options() -> set[str]:
    """The options of all steps, read from their source: to import them all takes seconds."""
    files = [path for floor in STEP_FLOORS for path in (ROOT / floor).rglob("*.py")]
    return {name for path in files for name in STEP_OPTION.findall(path.read_text(encoding="utf-8"))}


def _explain_old_keys(message: str) -> str:
    """What became of the keys of earlier versions in a parser's message."""
    explained = ""
    for old, change in OLD_KEYS.items():
        section, key = old.split(".")
        if re.search(rf"--{old}\b|'{section}' does not accept option '{key}'", message):
            explained += f" ({old} {change})"
    return explained


def _normalize_option(argument: str) -> str:
    """An argument with underscores in the option's name, as in `--max_failures`."""
    name, equals, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else argument


def _check_recipe_files(arguments: Sequence[str]) -> None:
    """Raise UserError that names a recipe file without a mapping in YAML, which the parser's own messages do not."""
    named = [name for before, name in pairwise(["", *arguments]) if before == "--recipe"]
    named += [argument.removeprefix("--recipe=") for argument in arguments if argument.startswith("--recipe=")]
    for name in named:
        try:
            if os.path.isfile(name):  # noqa: PTH113 (Path.is_file raises for a recipe as text of any length)
                read_recipe_file(Path(name))
            elif name.lstrip().startswith("{"):
                parse_recipe(name)
        except RecipeFileError as error:
            raise UserError(f"--recipe {name:.200} {error}") from None
