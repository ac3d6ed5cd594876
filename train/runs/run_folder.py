"""A run's folder: its recipe, and a folder a network."""

import itertools
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError
from core.files import atomic_write, remove_temporary_files
from core.paths import CORRECTIONS_NAME, FITTED_PARAMS_NAMES, RECIPE_NAME, RunPaths
from preprocess.dataset.discovery import expand_user
from recipe import Recipe, as_dict, get_section
from recipe.recipe_file import RecipeFileError, read_recipe_file

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


def find_fold_checkpoints(run: str, fold: int, key: str) -> list[Path]:
    """The best networks of a fold in another run's folder, one a seed, or the one file that is named in its place.

    Raises UserError that names the recipe's key.
    """
    run_dir = expand_user(run, key)
    if run_dir.is_file():
        return [run_dir]
    best_paths = find_best_checkpoints(run_dir)
    same_fold = [each for each in best_paths if parse_fold_number(each.parent) == fold]
    if not same_fold:
        found = ", ".join(each.parent.name for each in best_paths) or "none"
        raise UserError(f"{key} = {run_dir}: no best.pt of fold {fold} ({found} there); name a run that has it")
    return same_fold


def check_own_files(run_paths: RunPaths, recipe: Recipe) -> None:
    """Raise UserError where the recipe reads files in the run's own folder."""
    run_dir = run_paths.run_dir
    for key in ("corrections", "start_from", "teacher"):
        value = getattr(recipe.training, key)
        if value and expand_user(value, f"training.{key}").resolve().is_relative_to(run_dir.resolve()):
            raise UserError(
                f"training.{key} = {value} is in the folder of this run, which overwrites it: name another --run"
            )


def paths_beside(run_paths: RunPaths) -> RunPaths:
    """Where a run is trained while the run's folder has networks that stay until the new ones are whole."""
    return replace(run_paths, run=f".{run_paths.run}.new")


def set_aside(run_dir: Path, run: str, what: str) -> None:
    """Rename a folder to the first free of `<run>-1`, `<run>-2`, …, and print that this is now the name of `what`."""
    names = (run_dir.with_name(f"{run}-{number}") for number in itertools.count(1))
    print(f"{what} is now run {run_dir.rename(next(name for name in names if not name.exists())).name}")


def start_run(run_paths: RunPaths, recipe: Recipe, *, finished: bool, folds: Sequence[int] | None) -> None:
    """Rename a run of another recipe, remove outputs of earlier weights, and write the recipe and its corrections.

    Parameters fitted to weights stay where the run is `finished`. Given the `folds` of the data, networks of other
    folds are removed.
    """
    run_dir = run_paths.run_dir
    differing_keys = describe_recipe_change(run_dir, recipe)
    if differing_keys and any(run_dir.glob("fold*")):
        set_aside(run_dir, run_dir.name, f"run {run_paths.run} was trained with {differing_keys}: it")
    for folder in (run_dir, *run_dir.glob("fold*")):
        remove_temporary_files(folder)
    fitted = () if finished else FITTED_PARAMS_NAMES
    out_of_fold = (run_paths.oof_csv.name, run_paths.oof_windows_csv.name)
    for name in (*out_of_fold, "per_label.csv", "confusion.csv", "label_issues.csv", *fitted):
        (run_dir / name).unlink(missing_ok=True)
    if folds is not None:
        _remove_other_folds(run_paths, folds)
    corrections = run_dir / CORRECTIONS_NAME
    if recipe.training.corrections:
        source = expand_user(recipe.training.corrections, "training.corrections")
        with atomic_write(corrections) as temporary:
            shutil.copyfile(source, temporary)
    else:
        corrections.unlink(missing_ok=True)
    with atomic_write(run_dir / RECIPE_NAME) as temporary:
        temporary.write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True), encoding="utf-8")


def replace_run(run_paths: RunPaths, recipe: Recipe, folds: Sequence[int], begun: Sequence[str]) -> None:
    """Put the run that was trained beside in the place of the earlier one, which is kept if it is of another recipe.

    Of one of the same recipe, networks of `folds` that were not trained anew stay, also where those beside are `begun`.
    """
    run_dir, new_dir = run_paths.run_dir, paths_beside(run_paths).run_dir
    old_dir = new_dir.with_suffix(".old")
    shutil.rmtree(old_dir, ignore_errors=True)  # of a command that was killed here
    try:
        differing_keys = describe_recipe_change(run_dir, recipe)
    except UserError:
        differing_keys = "a recipe that cannot be read now"
    if differing_keys and any(run_dir.glob("fold*")):
        set_aside(run_dir, run_dir.name, f"run {run_paths.run} was trained with {differing_keys}: it")
    elif run_dir.exists():
        _remove_other_folds(run_paths, folds)
        for name in begun:
            if (run_dir / name).exists():
                shutil.rmtree(new_dir / name)
                print(f"run {run_paths.run}: the earlier network of {name} stays, for the new one is not finished")
        for path in list(run_dir.iterdir()):
            if not (new_dir / path.name).exists() and re.match(r"fold\d|lr\.", path.name):
                path.rename(new_dir / path.name)
        run_dir.rename(old_dir)
    new_dir.rename(run_dir)
    shutil.rmtree(old_dir, ignore_errors=True)


def _remove_other_folds(run_paths: RunPaths, folds: Sequence[int]) -> None:
    for fold_dir in sorted(run_paths.run_dir.glob("fold*")):
        fold = parse_fold_number(fold_dir)
        if fold_dir.is_dir() and fold is not None and fold not in folds:
            shutil.rmtree(fold_dir)
            print(f"run {run_paths.run}: {fold_dir.name} is removed, for the clips have no fold {fold} any more")


def describe_recipe_change(run_dir: Path, recipe: Recipe, sections: Sequence[str] = TRAINING_SECTIONS) -> str:
    """The keys of `sections` in which the run in a folder, if any, differs from a recipe."""
    values = read_run_recipe(run_dir)
    return "" if values is None else describe_differing_keys(values, as_dict(recipe), sections)


def read_run_recipe(run_dir: Path) -> dict[str, Any] | None:
    """The recipe that the run in a folder was begun with, if there is one. Raises UserError."""
    path = run_dir / RECIPE_NAME
    try:
        return read_recipe_file(path)
    except FileNotFoundError:
        return None
    except RecipeFileError as error:
        raise UserError(f"{path} {error}; remove the run's folder, or name another run with --run") from None


def find_corrections(run_paths: RunPaths, recipe: Recipe) -> str | None:
    """The training.corrections that a recipe names, or else the copy of those that the run was trained with."""
    copy, trained = run_paths.run_dir / CORRECTIONS_NAME, read_run_recipe(run_paths.run_dir) or {}
    by_run = str(copy) if copy.exists() else get_section(trained, "training").get("corrections")
    return recipe.training.corrections or by_run


def describe_differing_keys(
    other: dict[str, Any], ours: dict[str, Any], sections: Sequence[str] = TRAINING_SECTIONS
) -> str:
    """The keys in which `sections` of two recipes differ, with the values of the first; '' where they do not."""
    changed = []
    for section in sections:
        theirs = get_section(other, section)
        for key, value in ours[section].items():
            if theirs.get(key) != value:
                changed.append(f"{section}.{key} = {theirs.get(key)!s:.80}")
    return ", ".join(changed)
