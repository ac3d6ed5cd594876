"""Out-of-fold scores of the training clips: the metrics of a run, its tables, and possible label errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.csv_tables import write_table
from core.files import atomic_write
from core.paths import RunPaths
from preprocess.dataset.labels import is_single_label, join_labels
from recipe import Recipe
from train.data.corrected_clips import DROP
from train.data.training_set import TrainingSet
from train.evaluate import metrics
from train.evaluate.held_out import describe_metrics, scores_of, write_oof_windows
from train.evaluate.score_table import write_scores
from train.evaluate.window_scorer import WindowScores, score_windows
from train.evaluate.windows import pool_windows
from train.runs.checkpoint import Checkpoint, build_network_from_checkpoint, load_checkpoint
from train.runs.run_folder import get_fold_dir
from train.runs.seen_clips import find_replaced_clip, find_trained_clip

MIN_PROPOSAL_SCORE = 0.5
"""Lowest score of a proposed label."""
LABEL_ISSUE_COLUMNS = ("clip", "labels", "given_labels", "label_quality", "issue_score")


def report_folds(run_paths: RunPaths, recipe: Recipe, training_set: TrainingSet, device: torch.device) -> None:
    """Print the metrics of each finished fold; once all are finished, of all clips, and write the run's tables."""
    folds = training_set.fold_numbers()
    scores = torch.full_like(training_set.targets, torch.nan)
    windows, rows, unfinished_folds = dict[int, WindowScores](), [], []
    for fold in folds:
        fold_rows = np.flatnonzero(training_set.folds == fold)
        checkpoints = load_best_checkpoints(run_paths.run_dir, recipe, fold)
        stale = any(is_stale(each, training_set, fold) for each in checkpoints.values())
        if stale:
            print(f"fold {fold}: its networks know other labels or recordings, or clips it holds out; train again")
        if stale or not checkpoints:
            unfinished_folds.append(fold)
            continue
        networks = [build_network_from_checkpoint(path, each, device) for path, each in checkpoints.items()]
        numbers = fold_rows.tolist()
        scored = score_windows(networks, training_set.frame_bank, numbers, recipe)
        for row, clip_windows in zip(numbers, scored, strict=True):
            scores[row] = pool_windows(torch.from_numpy(clip_windows.scores), recipe.prediction)
            if training_set.events:
                windows[row] = clip_windows
        fold_scores = scores_of(training_set, recipe, scores, windows, training_set.validation_rows(fold))
        rows.append({"fold": str(fold)} | metrics_row(training_set, *fold_scores))
    if unfinished_folds:
        lines = [f"{run_paths.oof_csv} waits for folds {', '.join(map(str, unfinished_folds))}"]
    else:
        curated = np.concatenate([training_set.validation_rows(fold) for fold in folds])
        all_scores = scores_of(training_set, recipe, scores, windows, curated)
        rows.append({"fold": "all"} | metrics_row(training_set, *all_scores))
        lines = write_tables(run_paths, training_set, scores, *all_scores)
        if training_set.events:
            lines.append(write_oof_windows(run_paths.oof_windows_csv, training_set, recipe, windows))
    table = pd.DataFrame(rows).to_string(index=False, float_format="%.4f") if rows else "no fold is finished"
    print(describe_metrics(training_set, recipe), table, *lines, sep="\n")


def load_best_checkpoints(run_dir: Path, recipe: Recipe, fold: int) -> dict[Path, Checkpoint]:
    """The best networks of a fold, one a seed, by their files; none unless all are trained to the last epoch."""
    checkpoints = {}
    for seed in range(recipe.training.seeds):
        best_path, last_path = (get_fold_dir(run_dir, recipe, fold, seed) / name for name in ("best.pt", "last.pt"))
        finished = best_path.exists() and last_path.exists()
        if not finished or load_checkpoint(last_path).epoch < recipe.training.epochs:
            return {}
        checkpoints[best_path] = load_checkpoint(best_path)
    return checkpoints


def is_stale(checkpoint: Checkpoint, training_set: TrainingSet, fold: int) -> bool:
    """Whether a network has other labels, or was trained on clips of `fold`, or on recordings since replaced."""
    bank, seen_clips, trained_frames = training_set.frame_bank, checkpoint.seen_clips, checkpoint.trained_frames
    odd_clips = (
        find_trained_clip(bank.clips, bank.digests, training_set.folds == fold, seen_clips, trained_frames),
        find_replaced_clip(bank.clips, bank.digests, trained_frames),
    )
    return checkpoint.labels != training_set.labels or any(clip is not None for clip in odd_clips)


def metrics_row(training_set: TrainingSet, truth: Tensor, scores: Tensor) -> dict[str, Any]:
    """Number of clips or windows, and every metric on them."""
    return {"windows" if training_set.events else "clips": len(truth)} | metrics.compute_metrics(truth, scores)


def write_tables(
    run_paths: RunPaths, training_set: TrainingSet, scores: Tensor, truth: Tensor, held_out_scores: Tensor
) -> list[str]:
    """Write oof.csv and label_issues.csv of all clips, per_label.csv and confusion.csv of held-out scores; their lines.

    `truth` and `held_out_scores` [n, n_labels] are of clips, or of windows, with checked labels.
    """
    run_dir, labels = run_paths.run_dir, training_set.labels
    clips, noisy = training_set.frame_bank.clips, training_set.noisy
    write_scores(run_paths.oof_csv, clips, labels, scores.numpy())
    labelled = np.flatnonzero(~training_set.unlabelled)
    label_issues = find_label_issues(
        [clips[row] for row in labelled], labels, training_set.targets[labelled], noisy[labelled], scores[labelled]
    )
    write_table(run_dir / "label_issues.csv", LABEL_ISSUE_COLUMNS, label_issues)
    with atomic_write(run_dir / "per_label.csv") as temporary:
        per_label = metrics.per_label_table(truth, held_out_scores, held_out_scores >= 0.5, labels)
        per_label.to_csv(temporary, float_format="%.4f")
    if is_single_label(truth):  # a row a label, a column a label that scores highest
        counts = zip(labels, metrics.confusion_matrix(truth, held_out_scores).tolist(), strict=True)
        write_table(run_dir / "confusion.csv", ["label", *labels], ([label, *row] for label, row in counts))
    return [
        f"{run_paths.oof_csv}: {len(scores)} clips, each scored by networks that were not trained on its fold",
        f"{run_dir / 'label_issues.csv'}: {len(label_issues)} clips with possible label errors",
        f"{run_dir / 'per_label.csv'}: metrics of each label",
    ]


def find_label_issues(
    clips: Sequence[str], labels: Sequence[str], targets: Tensor, noisy: Tensor, scores: Tensor
) -> list[tuple[str, str, str, str, str]]:
    """Rows of LABEL_ISSUE_COLUMNS, highest issue first, of clips where an absent label scores above a given one.

    `targets` and `scores` are [n_clips, n_labels], `noisy` is boolean [n_clips]; `labels` are the vocabulary. In a row,
    `labels` are those that score at least MIN_PROPOSAL_SCORE, or else DROP: reviewed, the file serves as
    `training.corrections`. `issue_score` is the highest score of an absent label less the lowest of a given one,
    or less MIN_PROPOSAL_SCORE for a clip without labels.
    """

    def join(chosen: Tensor) -> str:
        return join_labels(label for label, here in zip(labels, chosen.tolist(), strict=True) if here)

    present = targets >= 0.5
    lowest_given = torch.where(present.any(1), scores.masked_fill(~present, 1).amin(1), MIN_PROPOSAL_SCORE)
    issue_scores = scores.masked_fill(present, 0).amax(1) - lowest_given
    return [
        (
            clips[row],
            join(scores[row] >= MIN_PROPOSAL_SCORE) or DROP,
            join(present[row]),
            "noisy" if noisy[row] else "curated",
            f"{float(issue_scores[row]):.4f}",
        )
        for row in issue_scores.argsort(descending=True, stable=True).tolist()
        if issue_scores[row] > 0
    ]
