"""Where everything lands: what each step writes, and where the next one finds it."""

import re
from dataclasses import dataclass
from pathlib import Path

CALIBRATION_NAME = "calibration.json"
THRESHOLDS_NAME, CENTER_THRESHOLDS_NAME = "thresholds.json", "thresholds_centre.json"
"""Beside a run's checkpoints, fitted on its out-of-fold scores: thresholds for a clip's windows, and for the one in its
middle alone."""

FITTED_PARAMS_NAMES = (THRESHOLDS_NAME, CENTER_THRESHOLDS_NAME, CALIBRATION_NAME)
"""All that is fitted to a run's weights."""
RECIPE_NAME = "recipe.yaml"
"""There, too, and in an export: everything that was set."""
PROVENANCE_NAME = "provenance.json"
"""There too: what the run's submission was predicted with; those of recordings of no dataset have one each."""

SUBMISSION_SUFFIXES = ("_centre", "_labels", "_windows", "_failed")
"""Of the CSVs beside a run's submission."""
INPUT_INFIX = "_on_"
"""In a submission's name, between the run and the recordings of no dataset that it is of."""


@dataclass(frozen=True)
class RunPaths:
    """Paths of one recipe's outputs and of one run's."""

    cache: Path
    submissions: Path
    name: str
    """The recipe's name."""
    run: str
    """The run's name; by default the recipe's."""

    @property
    def dataset_dir(self) -> Path:
        """cache/<recipe>/: the table of clips, the store and the runs."""
        return self.cache / self.name

    @property
    def clips_csv(self) -> Path:
        return self.dataset_dir / "clips.csv"

    @property
    def labels_csv(self) -> Path:
        """The vocabulary, a label a row, in the order of every score's columns."""
        return self.dataset_dir / "labels.csv"

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
        return self.dataset_dir / "failed.csv"

    @property
    def run_dir(self) -> Path:
        """cache/<recipe>/runs/<run>/: weights, logs and out-of-fold scores."""
        return self.dataset_dir / "runs" / self.run

    @property
    def oof_csv(self) -> Path:
        """Scores of training clips by the fold that never saw them."""
        return self.run_dir / "oof.csv"

    def conflicting_run(self) -> str | None:
        """Another run of the recipe, of which a file is named as this one's submission, or the other way round."""
        beside = re.compile(f"({'|'.join(SUBMISSION_SUFFIXES)}|{INPUT_INFIX}.*)$", re.DOTALL)
        for run_dir in sorted(self.run_dir.parent.glob("*/")):
            shorter, longer = sorted((run_dir.name, self.run), key=len)
            if longer.startswith(shorter) and beside.match(longer, len(shorter)):
                return run_dir.name
        return None

    def submission(self, suffix: str = ".csv") -> Path:
        """submissions/<run><suffix>."""
        return self.submissions / f"{self.run}{suffix}"
