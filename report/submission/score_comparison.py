"""Two runs' submissions of the same clips side by side: metrics, and first the clips that they decide differently."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from core.errors import UserError
from predict.decide.blend_weights import align_tables
from predict.decide.fitted_params import read_thresholds
from predict.output.ground_truth import submission_of_run
from predict.output.provenance import check_same_frames, find_recipe_name, warn_if_predicted_otherwise
from predict.output.summary import SubmissionSummary
from recipe.cli import Command
from report.summary import CLIPS_PER_REASON, MAX_ROWS, clip_table, key_metrics
from train.evaluate.score_table import read_scores


@dataclass(frozen=True)
class Comparison:
    """The submissions of two runs, in the same rows and columns."""

    runs: tuple[str, str]
    """What they are called."""
    summary: SubmissionSummary
    other: SubmissionSummary

    @classmethod
    def read(cls, command: Command, name: str, path: Path, summary: SubmissionSummary) -> Self:
        """The submission at `path`, called `name`, and that of the run `--against`, whose own thresholds decide.

        Raises UserError where that is not there, or is of other clips or labels.
        """
        run = command.options.against
        run_paths = replace(command.run_paths, run=run)
        other_path = submission_of_run(run_paths, command.options.input)
        if not other_path.exists():
            message = f"{other_path} is not there: run make predict RUN={run} first, or name another run, AGAINST="
            raise UserError(message)
        run_paths = replace(run_paths, name=find_recipe_name(other_path) or run_paths.name)
        check_same_frames(run_paths, other_path)
        warn_if_predicted_otherwise(replace(command, run_paths=run_paths), other_path)
        scores, other_scores = align_tables([name, run], [read_scores(path), read_scores(other_path)])
        kept = other_scores.without(set(scores.clips) - set(summary.clips))  # corrections drop clips
        thresholds = read_thresholds(run_paths.run_dir, summary.labels, command.recipe.prediction)
        return cls((name, run), summary, replace(summary, scores=kept.values, thresholds=thresholds))

    @property
    def metrics(self) -> list[tuple[str, str, str]]:
        """(name, the first run's value, the other's) of what `key_metrics` has."""
        pairs = zip(key_metrics(self.summary), key_metrics(self.other), strict=True)
        return [(name, value, other_value) for (name, value), (_, other_value) in pairs]

    @cached_property
    def clips(self) -> pd.DataFrame:
        """A row a clip, those that are decided differently first, then those whose scores differ most.

        `label` is the one whose scores differ most; of decisions, whether all are right (they are not where nothing is
        known).
        """
        summary, other, rows = self.summary, self.other, np.arange(len(self.summary.clips))
        furthest = np.abs(summary.scores - other.scores).argmax(axis=1)
        scores, other_scores = summary.scores[rows, furthest], other.scores[rows, furthest]
        table = clip_table(summary)[["clip", "labels", "decided"]].assign(
            other_decided=clip_table(other)["decided"],
            label=np.array(summary.label_names, dtype=object)[furthest],
            score=scores,
            other_score=other_scores,
            difference=np.abs(scores - other_scores),
            differs=(summary.decisions != other.decisions).any(axis=1),
            is_right=(summary.decisions == summary.truth).all(axis=1),
            other_is_right=(other.decisions == summary.truth).all(axis=1),
        )
        return table.sort_values(["differs", "difference"], ascending=False, kind="stable")

    @property
    def differing(self) -> list[int]:
        """Rows of the clips that are decided differently, those whose scores differ most in front."""
        return self.clips.index[self.clips["differs"]].tolist()

    @property
    def shown_clips(self) -> pd.DataFrame:
        """Those of the page's table."""
        return self.clips[:MAX_ROWS]

    def format(self) -> str:
        """The comparison for a terminal, with the first clips."""
        columns = ["clip", "labels", "decided", "other_decided", "label", "score", "other_score"]
        table = self.clips[columns][:CLIPS_PER_REASON].set_axis(["clip", "is", *self.runs, "label", *self.runs], axis=1)
        lines = [
            f"decided differently by {self.runs[1]}: {len(self.differing)} of {len(self.clips)} clips",
            pd.DataFrame(self.metrics, columns=["", *self.runs]).to_string(index=False),
            "\nwhat is given, and the label whose scores differ most:",
            table.dropna(axis=1, how="all").to_string(index=False, float_format="%.3f", na_rep=""),
        ]
        return "\n".join(lines)
