"""A run's folder: its recipe, and a folder a network."""

import itertools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadInput
from core.files import written_whole
from core.paths import FITTED_NAMES, RECIPE_NAME, Places
from recipe import Recipe, as_dict

# What must be the same for a run to go on: the rest of a recipe says where data lie and how to answer.
LEARNT_BY = ("features", "network", "training")


def fold_home(run_home: Path, recipe: Recipe, fold: int, seed: int) -> Path:
    """fold<k>/ of a run, or fold<k>_seed<s>/ where a fold has several networks; `seed` counts from 0."""
    return run_home / (f"fold{fold}_seed{seed}" if recipe.training.seeds > 1 else f"fold{fold}")


def fold_of(home: Path) -> int | None:
    """The fold of a network's folder; None where a folder is none."""
    named = re.fullmatch(r"fold(\d+)(_.*)?", home.name)
    return int(named[1]) if named else None


def best_paths(run_home: Path) -> list[Path]:
    """The best checkpoints of a run, one a network, in the order of their names."""
    return sorted(run_home.glob("fold*/best.pt"))


def check_begun(places: Places, recipe: Recipe) -> None:
    """Raise BadInput, naming the keys that differ, where a run that is to go on was begun with another recipe."""
    if differing := _differing(places, recipe):
        raise BadInput(
            f"--resume: run {places.run} was begun with {differing}; give changed recipes a --run of their own"
        )


def begin_run(places: Places, recipe: Recipe, *, finished: bool = False, folds: Sequence[int] | None = None) -> None:
    """Write the run's recipe. A run of another recipe is set aside first; what earlier weights gave goes.

    What was fitted to weights stays where the run is `finished`, for they will not change. Of a run begun anew on data
    of these `folds` the networks of others go, which prediction would go on asking.

    Raises BadInput where the recipe reads what this run is about to overwrite.
    """
    _check_reading(places, recipe)
    differing = _differing(places, recipe)
    if differing and any(places.run_home.glob("fold*")):
        aside = free_name(places.run_home)
        places.run_home.rename(aside)
        print(f"run {places.run} was trained with {differing}: it is now run {aside.name}")
    fitted = () if finished else FITTED_NAMES
    for name in (places.oof_csv.name, "by_label.csv", "confusion.csv", "suspicious.csv", *fitted):
        (places.run_home / name).unlink(missing_ok=True)
    if folds is not None:
        _remove_other_folds(places, folds)
    with written_whole(places.run_home / RECIPE_NAME) as temporary:
        temporary.write_text(yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _remove_other_folds(places: Places, folds: Sequence[int]) -> None:
    """Remove the networks of folds that the data have no more."""
    for home in sorted(places.run_home.glob("fold*")):
        fold = fold_of(home)
        if home.is_dir() and fold is not None and fold not in folds:
            shutil.rmtree(home)
            print(f"run {places.run}: {home.name} is removed, for the clips have no fold {fold} any more")


def free_name(home: Path) -> Path:
    """`home` with the first number behind its name that is not taken."""
    names = (home.with_name(f"{home.name}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _check_reading(places: Places, recipe: Recipe) -> None:
    for key in ("corrections", "start_from", "teacher"):
        value = getattr(recipe.training, key)
        if value and Path(value).resolve().is_relative_to(places.run_home.resolve()):
            raise BadInput(
                f"training.{key} = {value} is in the folder of this run, which overwrites it: name another --run"
            )


def _differing(places: Places, recipe: Recipe) -> str:
    """The keys in which the run that is there, if any, differs from a recipe."""
    path = places.run_home / RECIPE_NAME
    return differing_keys(_read(path), as_dict(recipe)) if path.exists() else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise BadInput(f"{path} is no recipe: remove the run's folder, or name another run with --run")
    return values


def differing_keys(theirs: dict[str, Any], ours: dict[str, Any], sections: Sequence[str] = LEARNT_BY) -> str:
    """The keys in which `sections` of two recipes differ, with the values of the first; '' where they do not."""
    return ", ".join(
        f"{section}.{key} = {theirs.get(section, {}).get(key)}"
        for section in sections
        for key, value in ours[section].items()
        if theirs.get(section, {}).get(key) != (list(value) if isinstance(value, tuple) else value)
    )
