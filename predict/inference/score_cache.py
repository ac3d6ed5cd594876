"""The window scores of recordings of no dataset, kept in a file each: a stopped run goes on where it was."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.files import atomic_write
from predict.inference.run_loader import TrainedRun
from preprocess.store.file_identity import content_fingerprint, file_fingerprint, is_same_file, stat_fingerprint
from preprocess.store.schema import features_digest
from train.evaluate.window_scorer import WindowScores

SCORE_KEYS = ("window_seconds", "hop_seconds", "mode", "blend", "view_shifts_s", "view_gains_db")
"""The keys of `prediction` that the scores of windows depend on."""


@dataclass(frozen=True)
class RecordingScores:
    """All windows of a recording, and where in time they lie."""

    windows: WindowScores
    start_s: float
    duration_s: float
    warning: str = ""
    """What of it could not be read."""


@dataclass(frozen=True)
class CachedRecording:
    """The file that keeps the scores of one recording, as long as the recording is the same."""

    path: Path
    recording: Path
    fingerprint: str

    def load(self) -> RecordingScores | None:
        """The recording's scores; None where there are none, or a damaged file."""
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                start_s, duration_s = arrays["times_s"].tolist()
                windows = WindowScores(arrays["start_frames"], arrays["scores"])
                return RecordingScores(windows, start_s, duration_s, str(arrays["warning"]))
        except Exception:  # damage has many kinds of them; the ZIP format has a checksum of each array
            return None

    def save(self, scores: RecordingScores) -> bool:
        """Keep the recording's scores; False, and nothing kept, where the file has changed since it was looked up."""
        if not is_same_file(self.fingerprint, stat_fingerprint(str(self.recording)), str(self.recording)):
            return False
        with atomic_write(self.path, fsync=False) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                start_frames=scores.windows.start_frames,
                scores=scores.windows.scores,
                times_s=np.array([scores.start_s, scores.duration_s]),
                warning=np.array(scores.warning),
            )
        return True


def score_cache_dir(folder: Path, run: TrainedRun) -> Path:
    """The folder below `folder` with the scores of a run; those of other weights, windows or frames have another."""
    keys = [getattr(run.prediction, key) for key in SCORE_KEYS]
    text = json.dumps([run.digest, features_digest(run.recipe.features), keys])
    return folder.absolute() / hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_recording(cache_dir: Path, recording: Path) -> CachedRecording:
    """Where the scores of a recording are kept; a link shares the file of its target."""
    real = os.path.realpath(recording)  # Path.resolve raises where links go in a circle
    fingerprint = file_fingerprint(str(recording))
    content = content_fingerprint(fingerprint) if fingerprint else ""
    key = hashlib.sha256(f"{real}\0{content}".encode("utf-8", "surrogateescape"))
    return CachedRecording(cache_dir / f"{key.hexdigest()[:24]}.npz", recording.absolute(), fingerprint)
