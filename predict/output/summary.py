"""A submission beside the thresholds that decide on it and what is known of its truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from predict.decide.fitted_params import Thresholds, read_thresholds
from predict.output.ground_truth import find_truth, read_event_truth, truth_of_clips, truth_of_events
from predict.output.provenance import check_same_frames, warn_if_predicted_otherwise
from preprocess.dataset.annotations.event_table import read_event_table
from preprocess.dataset.label_names import name_labels
from recipe.cli import Command
from train.data.corrected_clips import read_corrected_clips
from train.evaluate.metrics import compute_metrics
from train.evaluate.score_table import ScoreTable, read_scores
from train.evaluate.windows import TIE_BREAK_WEIGHT
from train.runs.run_folder import find_corrections

METRIC_NAMES = {
    "lwlrap": "lwlrap",
    "map": "mAP",
    "accuracy": "accuracy",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "hamming": "Hamming score",
}

TUNED_HERE = "thresholds were tuned on these clips: F1 and Hamming score are too high, make tune says what to expect"


def named_metrics(truth: np.ndarray, scores: np.ndarray, thresholds: np.ndarray | float = 0.5) -> dict[str, float]:
    """Every metric of scores and truth [n_clips, n_labels], by the name that is printed."""
    metrics = compute_metrics(torch.from_numpy(truth), torch.from_numpy(scores), torch.as_tensor(thresholds))
    return {METRIC_NAMES[key]: value for key, value in metrics.items()}


@dataclass(frozen=True)
class SubmissionSummary:
    """Scores by clip and label, what is decided from them, and the truth where it is known."""

    clips: list[str]
    labels: list[str]
    scores: np.ndarray
    """[n_clips, n_labels]"""
    thresholds: Thresholds
    truth: np.ndarray
    """[n_clips, n_labels], NaN in the rows of clips of which nothing is known."""
    min_top_score: float = 0.0
    """The lowest score of a top-1 label: with pooling vote_fraction, a clip without votes has none."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What people call labels, by label (preprocess.dataset.label_names)."""
    events: pd.DataFrame | None = None
    """The events of a truth in time: a row an event, with fname, start_s, end_s and label."""
    is_out_of_fold: bool = False
    """Whether it is of the run's training clips, each scored by the networks that were not trained on it."""

    @cached_property
    def label_names(self) -> list[str]:
        """What to show of each label: its name, with the label itself where others have that name too."""
        names = [self.names.get(label, label) for label in self.labels]
        pairs = zip(self.labels, names, strict=True)
        return [name if names.count(name) == 1 else f"{name} ({label})" for label, name in pairs]

    @cached_property
    def top1(self) -> np.ndarray:
        """The label with the highest score of each clip [n_clips]; -1 where it has none."""
        highest = self.scores.max(axis=1)
        return np.where((highest >= self.min_top_score) & (highest > 0), self.scores.argmax(axis=1), -1)

    @cached_property
    def has_truth(self) -> np.ndarray:
        """Whether a clip's truth is known [n_clips]."""
        return ~np.isnan(self.truth[:, 0])

    @cached_property
    def decisions(self) -> np.ndarray:
        """Which labels a clip is given, boolean [n_clips, n_labels]."""
        return self.thresholds.decide(self.scores)

    @property
    def is_tuned_here(self) -> bool:
        """Whether thresholds were tuned on the very clips that the metrics are of."""
        return self.is_out_of_fold and self.thresholds.is_tuned and bool(self.has_truth.any())

    def metrics(self) -> dict[str, float]:
        """Every metric by name; none where no truth is known."""
        known = self.has_truth
        return named_metrics(self.truth[known], self.scores[known], self.thresholds.values) if known.any() else {}


def summarise_submission(command: Command, path: Path) -> SubmissionSummary:
    """The submission that a command names, at `path`; warns where it was predicted otherwise than the command says."""
    check_same_frames(command.run_paths, path)
    warn_if_predicted_otherwise(command, path)
    run_paths, options, scores, clips = command.run_paths, command.options, read_scores(path), None
    if not options.input and not options.truth:
        clips = read_corrected_clips(run_paths, find_corrections(run_paths, command.recipe))
        scores = scores.without(clips.dropped)
    if options.truth:
        events = read_event_truth(Path(options.truth), path, scores)
        truth = find_truth(Path(options.truth), path, scores) if events is None else truth_of_events(events, scores)
    else:
        table = read_event_table(run_paths.events_csv) if clips else None
        events = None if table is None else table[table["clip"].isin(scores.clips)].rename(columns={"clip": "fname"})
        truth = truth_of_clips(clips, scores) if clips else np.full_like(scores.values, np.nan)
    splits = clips.table.set_index("clip").loc[scores.clips, "split"] if clips and not options.submission else None
    is_out_of_fold = splits is not None and bool((splits == "train").all())
    return replace(summarise_scores(command, scores, truth), events=events, is_out_of_fold=is_out_of_fold)


def summarise_scores(command: Command, scores: ScoreTable, truth: np.ndarray) -> SubmissionSummary:
    """Scores of a command's run beside their truth, decided at the run's thresholds."""
    thresholds = read_thresholds(command.run_paths.run_dir, scores.labels, command.recipe.prediction)
    min_top_score = TIE_BREAK_WEIGHT if command.recipe.prediction.pooling == "vote_fraction" else 0.0
    names = name_labels(scores.labels, command.recipe.data)
    return SubmissionSummary(scores.clips, scores.labels, scores.values, thresholds, truth, min_top_score, names)
