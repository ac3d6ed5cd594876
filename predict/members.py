"""A recipe of an ensemble: which steps of its own run are still to be done, and doing them as `make` would."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadInput
from core.paths import FITTED_NAMES, RECIPE_NAME, Places
from predict.output.provenance import predicted_with
from recipe import Recipe, as_dict
from train.runs.run_folder import differing_keys

ASKED = ("data", "features", "network", "training", "prediction")
ELSEWHERE = {("data", "folder")}
"""Keys that say where, not what."""


@dataclass(frozen=True)
class Member:
    """One recipe, its run, and what else was said on the command line."""

    path: Path
    recipe: Recipe
    places: Places
    arguments: tuple[str, ...]
    """Keys of recipes, for every step."""

    @property
    def name(self) -> str:
        return self.places.run

    def is_trained(self) -> bool:
        """Whether all folds are scored, by this very recipe, of the clips and frames that are there."""
        return self._is_after_data(self.places.oof_csv) and self._trained_by() == _asked(as_dict(self.recipe))

    def is_begun(self) -> bool:
        """Whether there are networks of this recipe, and of the clips and frames that are there, to go on with."""
        theirs = self._trained_by()
        lasts = list(self.places.run_home.glob("fold*/last.pt"))
        same = bool(theirs) and not differing_keys(theirs, as_dict(self.recipe))
        return same and bool(lasts) and all(map(self._is_after_data, lasts))

    def is_predicted(self) -> bool:
        """Whether the submission is there, for this prediction, and newer than the networks and what was fitted."""
        submission, home = self.places.submission(), self.places.run_home
        if predicted_with(home, submission, self.recipe.prediction) != "":
            return False
        fitted = [path for name in FITTED_NAMES if (path := home / name).exists()]
        return _is_after(submission, [self.places.oof_csv, *fitted])

    def do(self, script: str, *options: str) -> None:
        """Run a script on this recipe. Its own line on standard error says what went wrong; its status ends this."""
        whose = ["--recipe", str(self.path), "--run", self.name]
        ended = subprocess.run([sys.executable, "-m", script, *whose, *self.arguments, *options])
        if ended.returncode:
            raise SystemExit(ended.returncode)

    def _is_after_data(self, path: Path) -> bool:
        return _is_after(path, [self.places.store, self.places.clips_csv])

    def _trained_by(self) -> dict[str, Any]:
        """The recipe of the run that is there, or nothing."""
        try:
            values = yaml.safe_load((self.places.run_home / RECIPE_NAME).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
        return _asked(values) if isinstance(values, dict) else {}


def _asked(recipe: dict[str, Any]) -> dict[str, Any]:
    """What a recipe asks for, as YAML reads it back."""
    return {
        section: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in (recipe.get(section) or {}).items()
            if (section, key) not in ELSEWHERE
        }
        for section in ASKED
    }


def _is_after(path: Path, others: Sequence[Path]) -> bool:
    """Whether `path` is there and no older than any of `others`."""
    try:
        return all(path.stat().st_mtime_ns >= other.stat().st_mtime_ns for other in others)
    except OSError:
        return False


def bring_up(members: Sequence[Member], jobs: str, device: str) -> None:
    """Do whatever is missing of each member: features, networks, submission."""
    shared = ("--jobs", jobs, "--device", device)
    for member in members:
        print(f"== {member.name}: features", flush=True)
        member.do("preprocess.features", "--jobs", jobs)
        if member.is_trained():
            print(f"== {member.name}: trained already", flush=True)
        else:
            print(f"== {member.name}: train", flush=True)
            member.do("train.fit", *shared, *(["--resume"] if member.is_begun() else []))
        if not member.places.oof_csv.exists():
            raise BadInput(f"{member.places.oof_csv} is not there: leave --folds out, every clip needs its score")
        if member.is_predicted():
            print(f"== {member.name}: predicted already", flush=True)
        else:
            print(f"== {member.name}: predict", flush=True)
            member.do("predict.run", *shared)
