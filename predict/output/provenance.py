"""Which submissions a run's networks answered, how, and of what: a JSON file each, beside the checkpoints."""

import os
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.files import digest_of
from core.paths import PREDICTED_NAME
from predict.decide.fitted_params import other_keys, read_fitted, write_fitted
from recipe import Prediction
from train.runs.run_folder import best_paths


def remember(run_home: Path, submission: Path, prediction: Prediction, networks: str, source: str | None) -> None:
    """Keep what a submission was predicted with: `networks` is the digest of the run's checkpoints, `source` whose
    sound it is of, where that is no dataset's.
    """
    written = {"submission": str(submission), "digest": digest_of([submission]), "networks": networks, "source": source}
    write_fitted(_record(run_home, submission), written, prediction)


def predicted_with(run_home: Path, submission: Path, prediction: Prediction) -> str | None:
    """The keys, with their values, in which a run's submission was predicted otherwise than this.

    None if unknown, or if it is not what the run's networks answer.
    """
    written = _read(run_home, submission)
    return other_keys(written, prediction, ()) if written and not doubt_of(run_home, submission) else None


def doubt_of(run_home: Path, submission: Path, source: str | None = None) -> str:
    """Why a submission may not be what a run's networks answer, in words; '' where it is, or where there are none."""
    checkpoints = best_paths(run_home)
    if not checkpoints:  # a blend
        return ""
    if strange := strange_in(run_home, submission, source):
        return strange
    written = _read(run_home, submission)
    if written and written.get("networks") not in (None, digest_of(checkpoints)):
        return "was predicted by other networks than the run has now"
    return ""


def strange_in(run_home: Path, submission: Path, source: str | None = None) -> str:
    """Why a submission that is there is not known to be the run's own, in words; '' where it is, or is not there."""
    if not submission.exists():
        return ""
    written = _read(run_home, submission)
    if written is None:
        return "is not known to be this run's"
    if written.get("digest") not in (None, digest_of([submission])):
        return "was changed after this run had predicted it, or another recipe's run of that name has replaced it"
    if source and written.get("source") not in (None, source):
        return f"is of {written['source']}"
    return ""


def source_name(source: str | None) -> str | None:
    r"""Where recordings of no dataset lie, whatever folder that is said from; bytes that are not UTF-8 as \xff."""
    return os.fsencode(os.path.realpath(source)).decode("utf-8", "backslashreplace") if source else None


def _record(run_home: Path, submission: Path) -> Path:
    """The file about a submission; those of recordings of no dataset have one each."""
    name = Path(PREDICTED_NAME)
    return run_home / (name.stem + submission.stem.removeprefix(run_home.name) + name.suffix)


def _read(run_home: Path, submission: Path) -> dict[str, Any] | None:
    """What is known of a run's submission."""
    try:
        written = read_fitted(_record(run_home, submission), ("submission",), "make predict")
    except BadInput:
        return None
    return written if written and written["submission"] == str(submission) else None
