"""Where the outputs of each step are."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

FITTED_PARAMS_NAMES = ("thresholds.json", "calibration.json")
"""Beside a run's checkpoints: what is fitted to its out-of-fold scores."""
THRESHOLDS_NAME, CALIBRATION_NAME = FITTED_PARAMS_NAMES
CORRECTIONS_NAME = "corrections.csv"
"""A run's copy of training.corrections."""
RECIPE_NAME = "recipe.yaml"
"""Beside a run's checkpoints, and in an export."""
PREDICTION_TABLES = ("submission.csv", "windows.csv", "labels.csv", "failed.csv", "warnings.csv")
SUBMISSION_NAME, WINDOWS_NAME, DECISIONS_NAME, FAILED_NAME, WARNINGS_NAME = PREDICTION_TABLES
EVENT_METRICS_NAME, REPORT_NAME, PROVENANCE_NAME = "event_metrics.csv", "report.html", "provenance.json"
PREDICTION_NAMES = (*PREDICTION_TABLES, EVENT_METRICS_NAME, REPORT_NAME, PROVENANCE_NAME)
"""The files of a prediction, in a folder of submissions/."""
EMBEDDING_NAMES = ("embeddings_failed.csv", "embeddings_warnings.csv", "embeddings.parquet")
EMBEDDINGS_FAILED_NAME, EMBEDDINGS_WARNINGS_NAME, EMBEDDINGS_NAME = EMBEDDING_NAMES
SIMILAR_NAME = "similar.csv"
TRAINING_REPORT_NAME = "training_report.html"


@dataclass(frozen=True)
class RunPaths:
    """Paths of one recipe's outputs and of one run's."""

    cache: Path
    submissions: Path
    name: str
    """Of the recipe."""
    run: str
    """The run's name; by default the recipe's."""

    @property
    def dataset_dir(self) -> Path:
        """The table of clips, the store and the runs."""
        return self.cache / self.name

    @property
    def clips_csv(self) -> Path:
        return self.dataset_dir / "clips.csv"

    @property
    def labels_csv(self) -> Path:
        """The vocabulary, a label a row, in the order of every score's columns."""
        return self.dataset_dir / "labels.csv"

    @property
    def events_csv(self) -> Path:
        """Labels in time, an event a row, where the dataset has them."""
        return self.dataset_dir / "events.csv"

    @property
    def sample_csv(self) -> Path:
        """A copy of the dataset's sample_submission.csv, where it has one."""
        return self.dataset_dir / "sample_submission.csv"

    @property
    def store(self) -> Path:
        return self.dataset_dir / "features.h5"

    @property
    def shards_dir(self) -> Path:
        return self.dataset_dir / "shards"

    @property
    def failed_csv(self) -> Path:
        return self.dataset_dir / FAILED_NAME

    @property
    def warnings_csv(self) -> Path:
        """Recordings that could be read only in part, or look odd."""
        return self.dataset_dir / WARNINGS_NAME

    @property
    def survey_json(self) -> Path:
        """Statistics of the dataset."""
        return self.dataset_dir / "survey.json"

    @property
    def run_dir(self) -> Path:
        """Weights, logs and out-of-fold scores."""
        return self.dataset_dir / "runs" / self.run

    @property
    def oof_csv(self) -> Path:
        return self.run_dir / "oof.csv"

    @property
    def oof_windows_csv(self) -> Path:
        """The same of the windows of clips with labels in time."""
        return self.run_dir / "oof_windows.csv"

    @property
    def submission_dir(self) -> Path:
        """PREDICTION_NAMES of the dataset's clips, and exports."""
        return self.submissions / self.run

    @property
    def submission_csv(self) -> Path:
        return self.submission_dir / SUBMISSION_NAME

    @property
    def model_dir(self) -> Path:
        """Weights, ONNX and what they need."""
        return self.submission_dir / "model"

    def input_dir(self, source: Path) -> Path:
        """PREDICTION_NAMES of a recording that is in no dataset, or of a folder of them.

        >>> RunPaths(Path("cache"), Path("submissions"), "esc50", "a").input_dir(Path("field trip/2024 é.wav"))
        PosixPath('submissions/a/inputs/2024_é')
        """
        resolved = Path(os.path.realpath(source))  # Path.resolve raises for circular links
        name = re.sub(r"[^\w.-]+", "_", resolved.name if resolved.is_dir() else resolved.stem)
        return self.submission_dir / "inputs" / (name if name.strip(".") else "recordings")
