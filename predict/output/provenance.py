"""What a submission was predicted with, and of what: provenance.json beside it."""

import os
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import hash_files
from core.paths import PROVENANCE_NAME, RunPaths
from predict.decide.fitted_params import changed_keys, read_fitted_params, write_fitted_params
from recipe import Prediction
from train.runs.run_folder import find_best_checkpoints


def write_provenance(submission: Path, recipe: str, details: dict[str, Any]) -> None:
    """Write of which recipe a submission is, what it holds, and `details`.

    Those of a prediction are `prediction`: its keys; `networks`: the digest of the checkpoints; `source`: the
    recordings, where they are of no dataset. Those of a blend are its runs and their weights.
    """
    provenance = {"recipe": recipe, "digest": hash_files([submission]), **details}
    write_fitted_params(submission.with_name(PROVENANCE_NAME), provenance)


def changed_prediction_keys(run_paths: RunPaths, submission: Path, prediction: Prediction) -> str:
    """The keys, with their values, in which a run's submission was predicted otherwise than by `prediction`.

    '' if there are none, and if the submission is not the run's.
    """
    provenance = _read(submission)
    return changed_keys(provenance, prediction) if provenance and not why_stale(run_paths, submission) else ""


def why_stale(run_paths: RunPaths, submission: Path, source: str | None = None) -> str:
    """Why a submission may not be the prediction of a run's networks, in words; '' if it is, or there are none."""
    checkpoints = find_best_checkpoints(run_paths.run_dir)
    if not checkpoints:  # a blend
        return ""
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


def source_name(source: str | None) -> str | None:
    r"""Where recordings of no dataset lie, as an absolute path; bytes that are not UTF-8 as \xff."""
    return os.fsencode(os.path.realpath(source)).decode("utf-8", "backslashreplace") if source else None


def _read(submission: Path) -> dict[str, Any] | None:
    """What is known of a submission; None if nothing is."""
    try:
        return read_fitted_params(
            submission.with_name(PROVENANCE_NAME), {"recipe": str, "digest": str}, "make predict"
        )
    except UserError:
        return None
