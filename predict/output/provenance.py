"""What a submission was predicted with, and of what: provenance.json beside it."""

from core.entrypoint import log_warning

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import hash_files
from core.paths import DECISIONS_NAME, PREDICTION_NAMES, PROVENANCE_NAME, SUBMISSION_NAME, RunPaths
from predict.decide.fitted_params import (
    DECISION_KEYS,
    changed_keys,
    read_params,
    read_thresholds,
    with_window_threshold,
    write_params,
)
from preprocess.dataset.clip_table import hash_frames_digests, read_clip_table
from recipe import as_dict, get_section
from recipe.cli import Command
from recipe.prediction import DEFAULT_THRESHOLD
from train.evaluate.score_table import read_scores
from train.runs.run_folder import find_best_checkpoints, read_run_recipe

N_DIGITS = 16
"""Of the digest of an export."""


def write_provenance(submission: Path, recipe: str, details: dict[str, Any]) -> None:
    """Write of which recipe a submission is, the digest of its file, and `details`: of a prediction, or of a blend."""
    provenance = {"recipe": recipe, "digest": hash_files([submission]), **details}
    write_params(submission.with_name(PROVENANCE_NAME), provenance)


def compare_exports(new: Path, folder: Path) -> tuple[dict[str, list[str]], dict[Path, Path]]:
    """Digests of the exports in `new`, by the name of each format; those of other formats as provenance.json has them.

    And those in `folder` that they would replace but that make predict did not write so, with names to keep them under.
    """
    known = (_read(folder / SUBMISSION_NAME) or {}).get("exports")
    known = known.items() if isinstance(known, dict) else ()
    exports = {name: [*map(str, digests)] for name, digests in known if isinstance(digests, list)}
    written, edited = set(chain.from_iterable(exports.values())), dict[Path, Path]()
    files = [path.relative_to(new) for path in sorted(new.rglob("*")) if path.is_file()]
    files = [file for file in files if str(file) not in PREDICTION_NAMES]
    exports |= {file.parts[0]: [] for file in files}
    for file in files:
        path, digest = folder / file, hash_files([new / file])[:N_DIGITS]
        exports[file.parts[0]].append(digest)
        if path.is_file() and (found := hash_files([path])[:N_DIGITS]) != digest and found not in written:
            edited[path] = path.with_name(f"{path.name}.{found}.edited")
    return exports, edited


def warn_if_predicted_otherwise(command: Command, path: Path) -> None:
    """Warn of a submission that is not by the run's networks, or by other keys of `prediction` than the recipe's, and
    of labels that were decided at other thresholds than the run's.
    """
    stale = why_stale(command.run_paths, path, source_name(command.options.input))
    if stale and not command.options.submission:  # which may be any run's
        log_warning(f"{path} {stale}: run make predict again")
    provenance = None if stale else _read(path)
    if provenance and provenance.get("trained"):
        log_warning(describe_trained(provenance["trained"]))
    prediction = with_window_threshold(command.run_paths.run_dir, command.recipe.prediction)
    if provenance and (keys := changed_keys(provenance, prediction)):
        log_warning(f"{path} was predicted with {keys}: give the same ARGS, or these decisions are not its own")
    elif provenance and isinstance(decided := provenance.get("thresholds"), dict):
        now = read_thresholds(command.run_paths.run_dir, list(decided), prediction)
        if list(decided.values()) != now.values.tolist():
            table = path.with_name(DECISIONS_NAME)
            log_warning(f"{table} was decided at other thresholds than {now.source}: run make predict again")


def describe_trained(clips: Sequence[str]) -> str:
    """A warning of recordings that networks were trained on."""
    return (
        f"the networks were trained on {len(clips)} of the recordings, the first {clips[0]!r}: "
        "their scores are better than those of new sounds"
    )


def describe_oof_change(run_paths: RunPaths) -> str:
    """The keys of `prediction`, and their values, by which a run's submission was scored and its oof.csv was not."""
    predicted = (_read(run_paths.submission_csv) or {}).get("prediction", {})
    changed = find_oof_change(run_paths.run_dir, predicted)
    return ", ".join(f"prediction.{key} {predicted[key]}" for key in changed)


def warn_if_trained_otherwise(command: Command) -> bool:
    """Whether oof.csv was scored by other keys of `prediction` than a command's, but for thresholds and calibration.

    Warns of those that the command line does not name: make train was given them, and they may be forgotten.
    """
    changed: dict[str, Any] = {}
    with suppress(UserError):  # of a damaged recipe of the run, which prediction does not need
        changed = find_oof_change(command.run_paths.run_dir, as_dict(command.recipe.prediction))
    changed = {f"prediction.{key}": changed[key] for key in changed if key not in ("calibrate", "window_threshold")}
    if forgotten := [f"{key} {value}" for key, value in changed.items() if key not in command.given]:
        name, keys = command.run_paths.run, ", ".join(forgotten)
        log_warning(f"run {name} was trained with {keys}, and this command has another value: give it the same ARGS")
    return bool(changed)


def find_oof_change(run_dir: Path, predicted: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `prediction` by which scores are `predicted` and oof.csv was not, with the values for oof.csv."""
    trained = get_section(read_run_recipe(run_dir) or {}, "prediction")
    by_default = {"window_threshold": DEFAULT_THRESHOLD, "calibrate": False}  # oof.csv is never calibrated
    trained = by_default | {key: value for key, value in trained.items() if value is not None and key != "calibrate"}
    ignored = ("mode", *DECISION_KEYS, *(() if predicted.get("pooling") == "vote_fraction" else ("window_threshold",)))
    keys = [key for key, value in predicted.items() if trained.get(key, value) != value and key not in ignored]
    return {key: trained[key] for key in keys}


def why_stale(run_paths: RunPaths, submission: Path, source: str | None = None) -> str:
    """Why a submission may not be the prediction of a run's networks, in words; '' if it is, or there are none."""
    checkpoints, recipe = find_best_checkpoints(run_paths.run_dir), find_recipe_name(submission)
    if not checkpoints:  # a blend, or a run of another recipe, as make ensemble blends them
        is_elsewhere = recipe not in (None, run_paths.name)
        return why_stale(replace(run_paths, name=str(recipe)), submission, source) if is_elsewhere else ""
    if reason := why_foreign(run_paths, submission, source):
        return reason
    provenance = _read(submission)
    is_older = provenance and provenance.get("networks") != hash_files(checkpoints)
    return "was predicted by other networks than the run has now" if is_older else ""


def why_foreign(run_paths: RunPaths, submission: Path, source: str | None = None) -> str:
    """Why a submission that is there is not known to be the run's own, in words; '' if it is, or is not there."""
    if not submission.exists():
        return ""
    provenance = _read(submission)
    if provenance is None:
        return "is not known to be this run's"
    if provenance["recipe"] != run_paths.name:
        return f"is of recipe {provenance['recipe']!r}, which has a run of that name too"
    if provenance["digest"] != hash_files([submission]):
        return "was changed after it was predicted"
    return f"is of {provenance.get('source')}" if source and provenance.get("source") != source else ""


def find_recipe_name(submission: Path) -> str | None:
    """The recipe of which a submission is; None where that is not known."""
    provenance = _read(submission)
    return provenance["recipe"] if provenance else None


def check_same_frames(run_paths: RunPaths, submission: Path) -> None:
    """Raise UserError for a dataset's submission that was predicted from other frames than its store has now."""
    provenance = _read(submission)
    if not provenance or not provenance.get("frames") or provenance["digest"] != hash_files([submission]):
        return
    paths = replace(run_paths, name=provenance["recipe"])
    if not paths.clips_csv.exists():
        return
    table, clips = read_clip_table(paths.clips_csv), read_scores(submission).clips
    if hash_frames_digests(table, clips) != provenance["frames"]:
        raise UserError(
            f"{submission} was predicted from other frames than {paths.clips_csv} is of: run make predict again, or "
            "give a recipe of other features a --name of its own"
        )


def hash_dataset_frames(run_paths: RunPaths) -> str:
    """One digest of the frames of all clips of a dataset."""
    table = read_clip_table(run_paths.clips_csv)
    return hash_frames_digests(table, table["clip"].tolist())


def source_name(source: str | None) -> str | None:
    r"""Where recordings of no dataset lie, as an absolute path; bytes that are not UTF-8 as \xff."""
    return os.fsencode(os.path.realpath(source)).decode("utf-8", "backslashreplace") if source else None


def _read(submission: Path) -> dict[str, Any] | None:
    """What is known of a submission; None if nothing is, or it is not there."""
    if not submission.exists():
        return None
    try:
        return read_params(submission.with_name(PROVENANCE_NAME), {"recipe": str, "digest": str}, "make predict")
    except UserError:
        return None
