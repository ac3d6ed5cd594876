"""Scores of training clips by the networks that never saw them: a run's figures, oof.csv, and label issues."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.csv_tables import write_table
from core.paths import RunPaths
from preprocess.dataset.labels import is_single_label, join_labels
from recipe import Recipe
from train.data.training_set import DROP, TrainingSet
from train.evaluate.metrics import compute_metrics
from train.evaluate.per_label import write_confusion, write_per_label
from train.evaluate.score_clips import score_clips
from train.evaluate.score_table import write_scores
from train.runs.checkpoint import Checkpoint, build_network_from_checkpoint, load_checkpoint
from train.runs.run_folder import get_fold_dir
from train.runs.seen_clips import find_seen_clip

MIN_PROPOSAL_SCORE = 0.5
"""A label is proposed from this score on."""


def report_folds(run_paths: RunPaths, recipe: Recipe, training_set: TrainingSet, device: torch.device) -> None:
    """Print the figures of each finished fold; once all are there, of all clips, and write the tables of the run."""
    folds = training_set.fold_numbers()
    scores = torch.full_like(training_set.targets, torch.nan)
    rows, unfinished_folds = [], []
    for fold in folds:
        fold_rows = np.flatnonzero(training_set.folds == fold)
        networks = (
            load_best_checkpoints(run_paths.run_dir, recipe, fold)
            if is_finished(run_paths.run_dir, recipe, fold)
            else {}
        )
        if stale := any(is_stale(each, training_set, fold_rows) for each in networks.values()):
            print(f"fold {fold}: its networks have other labels, or have learnt from clips it holds out; train again")
        if stale or not networks:
            unfinished_folds.append(fold)
            continue
        scores[fold_rows] = score_fold(networks, recipe, training_set, fold_rows, device)
        rows.append({"fold": str(fold)} | metrics_row(training_set, scores, training_set.validation_rows(fold)))
    if unfinished_folds:
        print(
            format_table(rows), f"{run_paths.oof_csv} waits for folds {', '.join(map(str, unfinished_folds))}", sep="\n"
        )
        return
    curated = np.concatenate([training_set.validation_rows(fold) for fold in folds])
    rows.append({"fold": "all"} | metrics_row(training_set, scores, curated))
    print(format_table(rows), *write_tables(run_paths, training_set, scores, curated), sep="\n")


def write_tables(run_paths: RunPaths, training_set: TrainingSet, scores: Tensor, curated: np.ndarray) -> list[str]:
    """Write oof.csv, label_issues.csv of all clips, per_label.csv, confusion.csv of the curated; what they are."""
    run_dir, labels = run_paths.run_dir, training_set.labels
    write_scores(run_paths.oof_csv, training_set.frame_bank.clips, labels, scores.numpy())
    label_issues = find_label_issues(training_set, scores)
    write_table(run_dir / "label_issues.csv", LABEL_ISSUE_COLUMNS, label_issues)
    truth = training_set.targets[curated]
    write_per_label(run_dir / "per_label.csv", labels, truth, scores[curated])
    if is_single_label(truth):
        write_confusion(run_dir / "confusion.csv", labels, truth, scores[curated])
    return [
        f"{run_paths.oof_csv}: {len(scores)} clips, each scored by the networks that never saw its fold",
        f"{run_dir / 'label_issues.csv'}: {len(label_issues)} clips whose labels deserve a look",
        f"{run_dir / 'per_label.csv'}: figures label by label",
    ]


def is_finished(run_dir: Path, recipe: Recipe, fold: int) -> bool:
    """Whether every network of a fold is trained to the last epoch."""
    fold_dirs = [get_fold_dir(run_dir, recipe, fold, seed) for seed in range(recipe.training.seeds)]
    return all(
        (fold_dir / "best.pt").exists()
        and (fold_dir / "last.pt").exists()
        and load_checkpoint(fold_dir / "last.pt").epoch >= recipe.training.epochs
        for fold_dir in fold_dirs
    )


def load_best_checkpoints(run_dir: Path, recipe: Recipe, fold: int) -> dict[Path, Checkpoint]:
    """The best networks of a fold, one a seed, by their files."""
    paths = [get_fold_dir(run_dir, recipe, fold, seed) / "best.pt" for seed in range(recipe.training.seeds)]
    return {path: load_checkpoint(path) for path in paths}


def is_stale(checkpoint: Checkpoint, training_set: TrainingSet, rows: np.ndarray) -> bool:
    """Whether a network answers for other labels, or has learnt from clips that it is to be scored on."""
    return (
        checkpoint.labels != training_set.labels
        or find_seen_clip(training_set.clip_names(rows), checkpoint.seen_clips) is not None
    )


def score_fold(
    checkpoints: dict[Path, Checkpoint],
    recipe: Recipe,
    training_set: TrainingSet,
    rows: np.ndarray,
    device: torch.device,
) -> Tensor:
    """Probabilities [n_rows, n_labels] of clips by a fold's networks, together as in prediction."""
    networks = [build_network_from_checkpoint(path, checkpoint, device) for path, checkpoint in checkpoints.items()]
    frame_bank, precision = training_set.frame_bank, recipe.training.precision
    return score_clips(networks, frame_bank, rows.tolist(), recipe.prediction, precision)


def metrics_row(training_set: TrainingSet, scores: Tensor, rows: np.ndarray) -> dict[str, Any]:
    """Number of clips, and every metric on them."""
    return {"clips": len(rows)} | compute_metrics(training_set.targets[rows], scores[rows])


def format_table(rows: list[dict[str, Any]]) -> str:
    """Figures in columns."""
    return pd.DataFrame(rows).to_string(index=False, float_format="%.4f") if rows else "no fold is finished"


LABEL_ISSUE_COLUMNS = ("clip", "labels", "given_labels", "label_quality", "issue_score")


def find_label_issues(training_set: TrainingSet, scores: Tensor) -> list[tuple[str, str, str, str, str]]:
    """Rows of LABEL_ISSUE_COLUMNS, the highest score first: clips of which some absent label scores above a given one.

    `labels` are proposals, those that score at least MIN_PROPOSAL_SCORE, or else to drop the clip: once looked
    through, the file serves as `training.corrections`. `issue_score` is how far the best absent label is above the
    worst given one.
    """
    present = training_set.targets >= 0.5
    issue_scores = scores.masked_fill(present, 0).amax(1) - scores.masked_fill(~present, 1).amin(1)
    return [
        (
            training_set.frame_bank.clips[row],
            _join_selected(training_set, scores[row] >= MIN_PROPOSAL_SCORE) or DROP,
            _join_selected(training_set, present[row]),
            "noisy" if training_set.noisy[row] else "curated",
            f"{float(issue_scores[row]):.4f}",
        )
        for row in issue_scores.argsort(descending=True, stable=True).tolist()
        if issue_scores[row] > 0
    ]


def _join_selected(training_set: TrainingSet, chosen: Tensor) -> str:
    return join_labels(label for label, here in zip(training_set.labels, chosen.tolist(), strict=True) if here)
