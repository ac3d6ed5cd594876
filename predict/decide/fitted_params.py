"""JSON files of what was fitted, or predicted, with some keys of `prediction`."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from core.errors import UserError
from core.files import atomic_write
from recipe import Prediction, as_dict


def read_fitted_params(path: Path, kinds: Mapping[str, type | UnionType], command: str) -> dict[str, Any] | None:
    """The content of a file, if there is one; its `prediction` is empty where a file written by hand has none.

    Raises UserError unless each key of `kinds` has a value of its kind; `command` writes the file again.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        content.setdefault("prediction", {})
        for key, kind in {**kinds, "prediction": dict}.items():
            if not isinstance(content.get(key), kind):
                raise ValueError(f"its {key} is {content.get(key)!r}")
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used ({error}): run {command} again, or remove it") from None


def write_fitted_params(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of fitted parameters."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def changed_keys(content: dict[str, Any], prediction: Prediction, *ignored: str) -> str:
    """The keys, but for `ignored` ones, whose values in a file are not those of `prediction`, with the file's values.

    '' if there are none.
    """
    theirs = content["prediction"]
    keys = [key for key, value in as_dict(prediction).items() if theirs.get(key, value) != value]
    return ", ".join(f"prediction.{key} {theirs[key]}" for key in keys if key not in ignored)
