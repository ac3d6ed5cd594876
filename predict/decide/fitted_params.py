"""Parameters fitted on a run's out-of-fold scores, JSON files beside its checkpoints: thresholds, and temperatures."""

from core.entrypoint import log_warning

import json
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import xxhash

from core.errors import UserError
from core.files import atomic_write
from core.paths import CALIBRATION_NAME, THRESHOLDS_NAME
from predict.decide.calibration import MAX_TEMPERATURE
from recipe import Prediction, as_dict
from recipe.prediction import DEFAULT_THRESHOLD
from train.evaluate.windows import TIE_BREAK_WEIGHT

DECISION_KEYS = ("threshold", "vote_threshold")
"""Keys of `prediction` on which no score depends."""


@dataclass(frozen=True)
class Temperatures:
    """What the logits of calibrated windows are divided by; 1 leaves them as they are."""

    temperature: float = 1.0
    """Of all networks of a run together."""
    fold_temperature: float = 1.0
    """Of the networks of one fold, which give out-of-fold scores: all together are less confident than these."""


NO_PROBABILITY = (
    "prediction.pooling = vote_fraction: a share of windows is no probability to calibrate; use another pooling"
)
TEMPERATURE_KEYS = ("temperature", "fold_temperature")


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str
    is_fitted: bool = False
    """Whether they are those of the run's file."""
    is_tuned: bool = False
    """Whether make tune chose them by the scores of the out-of-fold clips as they are."""

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape: a label is present from its threshold on."""
        return scores >= self.values


def window_min_scores(thresholds: Thresholds, prediction: Prediction) -> np.ndarray:
    """The lowest score of a window that has a label, [n_labels] or one for all."""
    if prediction.pooling == "vote_fraction":  # thresholds are for shares of windows
        return np.nextafter(np.float32(prediction.count_above()), np.float32(1))
    return thresholds.values


def min_clip_score(threshold: float, prediction: Prediction) -> float:
    """The lowest score of a clip that has a label at a threshold: a share of windows that is just it is enough."""
    return threshold * (1 - TIE_BREAK_WEIGHT) if prediction.pooling == "vote_fraction" else threshold


def read_params(path: Path, kinds: Mapping[str, type | UnionType], command: str) -> dict[str, Any] | None:
    """The content of a file, if there is one; its `prediction` is empty where a file written by hand has none.

    Raises UserError unless each key of `kinds` has a value of its kind; `command` writes the file again. Warns where
    the file is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        if content.pop("checksum", checksum := _checksum(content)) != checksum:
            _warn_once(f"{path} is not as {command} wrote it: what it says now is used; remove its checksum if it may")
        content.setdefault("prediction", {})
        for key, kind in {**kinds, "prediction": dict}.items():
            if not isinstance(content.get(key), kind):
                raise ValueError(f"its {key} is {reprlib.repr(content.get(key))}")
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be used ({error}): run {command} again, or remove it") from None


def write_params(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file as `read_params` reads it."""
    with atomic_write(path) as temporary:
        text = _to_json({**content, "checksum": _checksum(content)})
        temporary.write_text(text + "\n", encoding="utf-8")


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1)


def _checksum(content: Mapping[str, Any]) -> str:
    """Of all of a file but the checksum itself, which follows it."""
    text = _to_json({key: value for key, value in content.items() if key != "checksum"})
    return xxhash.xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))


_warn_once = cache(log_warning)
"""A command reads a file several times."""


def changed_keys(content: dict[str, Any], prediction: Prediction, *ignored: str) -> str:
    """The keys of a file, but for `ignored` ones, whose values are not those of `prediction`, and these values."""
    theirs = content["prediction"]
    keys = [key for key, value in as_dict(prediction).items() if theirs.get(key, value) != value]
    return ", ".join(f"prediction.{key} {theirs[key]}" for key in keys if key not in ignored)


def read_temperatures(run_dir: Path, prediction: Prediction) -> Temperatures:
    """The temperatures for `prediction.calibrate`, else 1. Raises UserError where none are fitted for `prediction`."""
    if not prediction.calibrate:
        return Temperatures()
    if prediction.pooling == "vote_fraction":
        raise UserError(f"prediction.calibrate = true, {NO_PROBABILITY}, or prediction.calibrate false")
    path = run_dir / CALIBRATION_NAME
    content = read_params(path, dict.fromkeys(TEMPERATURE_KEYS, int | float), "make calibrate")
    if content is None:
        raise UserError(f"prediction.calibrate = true: {path} is not there; run make calibrate first")
    if changed := changed_keys(content, prediction, "mode", "calibrate", "window_threshold", *DECISION_KEYS):
        raise UserError(f"{path} is for {changed}: run make calibrate again")
    temperatures = [float(content[key]) for key in TEMPERATURE_KEYS]
    for temperature in temperatures:
        if not 1 / MAX_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
            raise UserError(f"{path} has the temperature {temperature:g}: run make calibrate again")
    return Temperatures(*temperatures)


def read_thresholds(run_dir: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds: the recipe's, or those that were tuned for this prediction, or 0.5. Raises UserError."""
    key, fixed = prediction.fixed_threshold()
    if fixed is None:
        content, source = _read_tuned(run_dir, prediction)
    else:
        content, path = None, run_dir / THRESHOLDS_NAME
        source = f"{fixed:g} by {key}" + (f", not {path}" if path.exists() else "")
    if content is None:
        value = min_clip_score(DEFAULT_THRESHOLD if fixed is None else fixed, prediction)
        return Thresholds(np.full(len(labels), value, np.float32), source)
    values = [_read_fraction(source, content["thresholds"], label) for label in labels]
    is_tuned = not content.get("mixtures") and not content.get("reviewed")
    return Thresholds(np.array(values, np.float32), source, is_fitted=True, is_tuned=is_tuned)


def with_window_threshold(run_dir: Path, prediction: Prediction) -> Prediction:
    """`prediction` with the window threshold in force: its own, or that tuned with a run's thresholds, or 0.5."""
    if prediction.pooling != "vote_fraction" or prediction.window_threshold is not None:
        return prediction
    content, source = _read_tuned(run_dir, prediction)
    if content is None or "window_threshold" not in content["prediction"]:
        return replace(prediction, window_threshold=DEFAULT_THRESHOLD)
    return replace(prediction, window_threshold=_read_fraction(source, content["prediction"], "window_threshold"))


def write_thresholds(
    run_dir: Path, labels: list[str], values: np.ndarray, prediction: Prediction, tuned: dict[str, Any]
) -> Path:
    """Write a run's thresholds, the keys they are for, and how they were `tuned`: metric and values, or the review.

    Says where thresholds of reviewed clips are replaced.
    """
    per_label = dict(zip(labels, map(float, values), strict=True))
    path, temperatures = run_dir / THRESHOLDS_NAME, read_temperatures(run_dir, prediction)
    with suppress(UserError):  # of a damaged file
        if reviewed := _describe_review(read_params(path, {"thresholds": dict}, "make tune") or {}):
            print(f"thresholds {reviewed} are replaced: {path}")
    write_params(path, tuned | {"thresholds": per_label, **asdict(temperatures), "prediction": as_dict(prediction)})
    return path


def _read_tuned(run_dir: Path, prediction: Prediction) -> tuple[dict[str, Any] | None, str]:
    """The content of a run's thresholds file, if it is for `prediction`; where its thresholds come from, in words."""
    path, default = run_dir / THRESHOLDS_NAME, f"{DEFAULT_THRESHOLD} for every label"
    content = read_params(path, {"thresholds": dict}, "make tune")
    if content is None:
        return None, default
    # Dense scores are close to exact ones, and a run whose networks cannot predict densely predicts exactly.
    given = prediction.pooling == "vote_fraction" and prediction.window_threshold is not None
    changed = changed_keys(content, prediction, "mode", *DECISION_KEYS, *(() if given else ("window_threshold",)))
    temperatures = asdict(read_temperatures(run_dir, prediction))
    if not changed and temperatures != {key: content.get(key, 1.0) for key in temperatures}:
        changed = f"a temperature of {content.get('temperature', 1.0)!s:.6}"
    if changed:
        return None, f"{default} ({path} is for {changed}: run make tune)"
    review = _describe_review(content)
    return content, f"{path} ({review})" if review else str(path)


def _describe_review(content: dict[str, Any]) -> str:
    """Of how many reviewed clips thresholds are, in words; '' for tuned ones."""
    n_clips, precision = content.get("reviewed"), content.get("precision")
    return f"from {n_clips} reviewed clips, for precision {precision}" if n_clips else ""


def _read_fraction(path: str, numbers: dict[str, Any], key: str) -> float:
    """A number of a thresholds file. Raises UserError where it is none from 0 to 1."""
    number = numbers.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise UserError(
            f"{path} gives {key!r} {reprlib.repr(number)} and no number from 0 to 1: run make tune again, or remove it"
        )
    return float(number)
