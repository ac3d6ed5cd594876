"""What was fitted on a run's out-of-fold scores: JSON files beside its checkpoints, each for one way to predict."""

import json
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import atomic_write
from recipe import Prediction, as_dict

IRRELEVANT_KEYS = ("mode",)
"""Keys of `prediction` that what was fitted does not depend on: windows that share columns score nearly as exact ones,
and a run whose networks cannot share answers exactly whatever it was asked."""


def read_fitted_params(path: Path, keys: tuple[str, ...], command: str) -> dict[str, Any] | None:
    """A file that holds `keys`, if there is one. Raises UserError where it does not; `command` makes it anew."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("prediction", {}), dict):
            raise ValueError("it is no table")
        if missing := [key for key in keys if key not in content]:
            raise ValueError(f"it has no {missing[0]}")
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used ({error}): run {command} again, or remove it") from None


def write_fitted_params(path: Path, content: dict[str, Any], prediction: Prediction) -> None:
    """Write what was fitted for a way to predict."""
    with atomic_write(path) as temporary:
        text = json.dumps({**content, "prediction": as_dict(prediction)}, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def changed_keys(content: dict[str, Any], prediction: Prediction, ignored: tuple[str, ...]) -> str:
    """The keys, but for `ignored` ones, in which what a file was fitted for is not this, with its values.

    '' if there are none.
    """
    theirs = content.get("prediction", {})  # one written by hand is for any
    keys = [key for key, value in as_dict(prediction).items() if theirs.get(key, value) != value]
    return ", ".join(f"prediction.{key} {theirs[key]}" for key in keys if key not in ignored)
