"""Which submissions a run's networks answered, how, and of what: a JSON file each, beside the checkpoints."""

import os
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.files import hash_files
from core.paths import PROVENANCE_NAME
from predict.decide.fitted_params import changed_keys, read_fitted_params, write_fitted_params
from recipe import Prediction
from train.runs.run_folder import find_best_checkpoints


def write_provenance(
    run_dir: Path, submission: Path, prediction: Prediction, networks: str, source: str | None
) -> None:
    """Keep what a submission was predicted with: `networks` is the digest of the run's checkpoints, `source` whose
    sound it is of, where that is no dataset's.
    """
    provenance = {
        "submission": str(submission),
        "digest": hash_files([submission]),
        "networks": networks,
        "source": source,
    }
    write_fitted_params(_provenance_path(run_dir, submission), provenance, prediction)


def changed_prediction_keys(run_dir: Path, submission: Path, prediction: Prediction) -> str | None:
    """The keys, with their values, in which a run's submission was predicted otherwise than this.

    None if unknown, or if it is not what the run's networks answer.
    """
    provenance = _read(run_dir, submission)
    return changed_keys(provenance, prediction, ()) if provenance and not why_stale(run_dir, submission) else None


def why_stale(run_dir: Path, submission: Path, source: str | None = None) -> str:
    """Why a submission may not be what a run's networks answer, in words; '' where it is, or where there are none."""
    checkpoints = find_best_checkpoints(run_dir)
    if not checkpoints:  # a blend
        return ""
    if reason := why_foreign(run_dir, submission, source):
        return reason
    provenance = _read(run_dir, submission)
    if provenance and provenance.get("networks") not in (None, hash_files(checkpoints)):
        return "was predicted by other networks than the run has now"
    return ""


def why_foreign(run_dir: Path, submission: Path, source: str | None = None) -> str:
    """Why a submission that is there is not known to be the run's own, in words; '' where it is, or is not there."""
    if not submission.exists():
        return ""
    provenance = _read(run_dir, submission)
    if provenance is None:
        return "is not known to be this run's"
    if provenance.get("digest") not in (None, hash_files([submission])):
        return "was changed after this run had predicted it, or another recipe's run of that name has replaced it"
    if source and provenance.get("source") not in (None, source):
        return f"is of {provenance['source']}"
    return ""


def source_name(source: str | None) -> str | None:
    r"""Where recordings of no dataset lie, whatever folder that is said from; bytes that are not UTF-8 as \xff."""
    return os.fsencode(os.path.realpath(source)).decode("utf-8", "backslashreplace") if source else None


def _provenance_path(run_dir: Path, submission: Path) -> Path:
    """The file about a submission; those of recordings of no dataset have one each."""
    name = Path(PROVENANCE_NAME)
    return run_dir / (name.stem + submission.stem.removeprefix(run_dir.name) + name.suffix)


def _read(run_dir: Path, submission: Path) -> dict[str, Any] | None:
    """What is known of a run's submission."""
    try:
        provenance = read_fitted_params(_provenance_path(run_dir, submission), ("submission",), "make predict")
    except UserError:
        return None
    return provenance if provenance and provenance["submission"] == str(submission) else None
