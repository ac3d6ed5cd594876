"""A run's folder: its recipe, and a folder a network."""

import itertools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError
from core.files import atomic_write
from core.paths import FITTED_PARAMS_NAMES, RECIPE_NAME, RunPaths
from recipe import Recipe, as_dict

TRAINING_SECTIONS = ("features", "network", "training")
"""Sections of a recipe that must be the same for a run to go on."""


def get_fold_dir(run_dir: Path, recipe: Recipe, fold: int, seed: int) -> Path:
    """fold<k>/ of a run, or fold<k>_seed<s>/ where a fold has several networks; `seed` counts from 0."""
    return run_dir / (f"fold{fold}_seed{seed}" if recipe.training.seeds > 1 else f"fold{fold}")


def parse_fold_number(fold_dir: Path) -> int | None:
    """The fold of a network's folder; None for other folders."""
    named = re.fullmatch(r"fold(\d+)(_.*)?", fold_dir.name)
    return int(named[1]) if named else None


def find_best_checkpoints(run_dir: Path) -> list[Path]:
    """The best checkpoints of a run, one a network, sorted by name."""
    return sorted(run_dir.glob("fold*/best.pt"))


def check_same_recipe(run_paths: RunPaths, recipe: Recipe) -> None:
    """Raise UserError that names the differing keys where a run to resume was begun with another recipe."""
    if differing_keys := _describe_recipe_change(run_paths.run_dir, recipe):
        raise UserError(
            f"--resume: run {run_paths.run} was begun with {differing_keys}; give changed recipes a --run of their own"
        )


def start_run(run_paths: RunPaths, recipe: Recipe, *, finished: bool, folds: Sequence[int] | None) -> None:
    """Rename a run of another recipe, remove outputs of earlier weights, and write the recipe.

    Parameters fitted to weights stay where the run is `finished`. Given the `folds` of the data, networks of other
    folds are removed. Raises UserError where the recipe reads files in the run's own folder.
    """
    run_dir = run_paths.run_dir
    for key in ("corrections", "start_from", "teacher"):
        value = getattr(recipe.training, key)
        if value and Path(value).resolve().is_relative_to(run_dir.resolve()):
            raise UserError(
                f"training.{key} = {value} is in the folder of this run, which overwrites it: name another --run"
            )
    differing_keys = _describe_recipe_change(run_dir, recipe)
    if differing_keys and any(run_dir.glob("fold*")):
        names = (run_dir.with_name(f"{run_dir.name}-{number}") for number in itertools.count(1))
        renamed_dir = run_dir.rename(next(name for name in names if not name.exists()))
        print(f"run {run_paths.run} was trained with {differing_keys}: it is now run {renamed_dir.name}")
    fitted = () if finished else FITTED_PARAMS_NAMES
    for name in (run_paths.oof_csv.name, "per_label.csv", "confusion.csv", "label_issues.csv", *fitted):
        (run_dir / name).unlink(missing_ok=True)
    if folds is not None:
        _remove_other_folds(run_paths, folds)
    with atomic_write(run_dir / RECIPE_NAME) as temporary:
        temporary.write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _remove_other_folds(run_paths: RunPaths, folds: Sequence[int]) -> None:
    for fold_dir in sorted(run_paths.run_dir.glob("fold*")):
        fold = parse_fold_number(fold_dir)
        if fold_dir.is_dir() and fold is not None and fold not in folds:
            shutil.rmtree(fold_dir)
            print(f"run {run_paths.run}: {fold_dir.name} is removed, for the clips have no fold {fold} any more")


def _describe_recipe_change(run_dir: Path, recipe: Recipe) -> str:
    """The keys in which the run in a folder, if any, differs from a recipe."""
    values = read_run_recipe(run_dir)
    return "" if values is None else describe_differing_keys(values, as_dict(recipe))


def read_run_recipe(run_dir: Path) -> dict[str, Any] | None:
    """The recipe that the run in a folder was begun with, if there is one. Raises UserError."""
    path = run_dir / RECIPE_NAME
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is no recipe: remove the run's folder, or name another run with --run")
    return values


def find_corrections(run_paths: RunPaths, recipe: Recipe) -> str | None:
    """The training.corrections that a recipe names, or else those that the run was trained with."""
    trained = (read_run_recipe(run_paths.run_dir) or {}).get("training")
    return recipe.training.corrections or (trained.get("corrections") if isinstance(trained, dict) else None)


def describe_differing_keys(
    other: dict[str, Any], ours: dict[str, Any], sections: Sequence[str] = TRAINING_SECTIONS
) -> str:
    """The keys in which `sections` of two recipes differ, with the values of the first; '' where they do not."""
    return ", ".join(
        f"{section}.{key} = {other.get(section, {}).get(key)}"
        for section in sections
        for key, value in ours[section].items()
        if other.get(section, {}).get(key) != (list(value) if isinstance(value, tuple) else value)
    )
