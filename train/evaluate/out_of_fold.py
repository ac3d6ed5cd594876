"""Scores of training clips by the networks that never saw them: a run's figures, oof.csv, and suspicious labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.csv_tables import write_table
from core.device import arithmetic
from core.paths import Places
from preprocess.dataset.labels import is_single_label, join_labels
from recipe import Recipe
from train.data.training_set import DROP, Material
from train.evaluate.metrics import summarise
from train.evaluate.per_label import write_by_label, write_confusion
from train.evaluate.score_clips import score_clips
from train.evaluate.score_table import write_scores
from train.runs.checkpoint import Checkpoint, load_checkpoint, network_from
from train.runs.run_folder import fold_home
from train.runs.seen_clips import first_learnt

SURE = 0.5
"""A label is proposed from this score on."""


def report_folds(places: Places, recipe: Recipe, material: Material, device: torch.device) -> None:
    """Print the figures of each finished fold; once all are there, of all clips, and write the tables of the run."""
    folds = material.fold_names()
    scores = torch.full_like(material.targets, torch.nan)
    rows, waiting = [], []
    for fold in folds:
        theirs = np.flatnonzero(material.folds == fold)
        networks = best_networks(places.run_home, recipe, fold) if is_finished(places.run_home, recipe, fold) else {}
        if stale := any(is_stale(each, material, theirs) for each in networks.values()):
            print(f"fold {fold}: its networks have other labels, or have learnt from clips it holds out; train again")
        if stale or not networks:
            waiting.append(fold)
            continue
        scores[theirs] = score_fold(networks, recipe, material, theirs, device)
        rows.append({"fold": str(fold)} | figures(material, scores, material.held_out(fold)))
    if waiting:
        print(table_of(rows), f"{places.oof_csv} waits for folds {', '.join(map(str, waiting))}", sep="\n")
        return
    curated = np.concatenate([material.held_out(fold) for fold in folds])
    rows.append({"fold": "all"} | figures(material, scores, curated))
    print(table_of(rows), *write_tables(places, material, scores, curated), sep="\n")


def write_tables(places: Places, material: Material, scores: Tensor, curated: np.ndarray) -> list[str]:
    """Write oof.csv and suspicious.csv of all clips, by_label.csv and confusion.csv of the curated; what they are."""
    home, labels = places.run_home, material.labels
    write_scores(places.oof_csv, material.memory.clips, labels, scores.numpy())
    suspicious = find_suspicious(material, scores)
    write_table(home / "suspicious.csv", SUSPICIOUS_COLUMNS, suspicious)
    truth = material.targets[curated]
    write_by_label(home / "by_label.csv", labels, truth, scores[curated])
    if is_single_label(truth):
        write_confusion(home / "confusion.csv", labels, truth, scores[curated])
    return [
        f"{places.oof_csv}: {len(scores)} clips, each scored by the networks that never saw its fold",
        f"{home / 'suspicious.csv'}: {len(suspicious)} clips whose labels deserve a look",
        f"{home / 'by_label.csv'}: figures label by label",
    ]


def is_finished(run_home: Path, recipe: Recipe, fold: int) -> bool:
    """Whether every network of a fold is trained to the last epoch."""
    homes = [fold_home(run_home, recipe, fold, seed) for seed in range(recipe.training.seeds)]
    return all(
        (home / "best.pt").exists()
        and (home / "last.pt").exists()
        and load_checkpoint(home / "last.pt").epoch >= recipe.training.epochs
        for home in homes
    )


def best_networks(run_home: Path, recipe: Recipe, fold: int) -> dict[Path, Checkpoint]:
    """The best networks of a fold, one a seed, by their files."""
    paths = [fold_home(run_home, recipe, fold, seed) / "best.pt" for seed in range(recipe.training.seeds)]
    return {path: load_checkpoint(path) for path in paths}


def is_stale(checkpoint: Checkpoint, material: Material, rows: np.ndarray) -> bool:
    """Whether a network answers for other labels, or has learnt from clips that it is to be scored on."""
    return checkpoint.labels != material.labels or first_learnt(material.names(rows), checkpoint.learnt) is not None


def score_fold(
    checkpoints: dict[Path, Checkpoint], recipe: Recipe, material: Material, rows: np.ndarray, device: torch.device
) -> Tensor:
    """Probabilities [n_rows, n_labels] of clips by a fold's networks, together as in prediction."""
    networks = [network_from(path, checkpoint, device) for path, checkpoint in checkpoints.items()]
    with arithmetic(device, recipe.training.precision):
        return score_clips(networks, material.memory, rows.tolist(), recipe.prediction)


def figures(material: Material, scores: Tensor, rows: np.ndarray) -> dict[str, Any]:
    """Number of clips, and every metric on them."""
    return {"clips": len(rows)} | summarise(material.targets[rows], scores[rows])


def table_of(rows: list[dict[str, Any]]) -> str:
    """Figures in columns."""
    return pd.DataFrame(rows).to_string(index=False, float_format="%.4f") if rows else "no fold is finished"


SUSPICIOUS_COLUMNS = ("clip", "labels", "given", "trust", "suspicion")


def find_suspicious(material: Material, scores: Tensor) -> list[tuple[str, str, str, str, str]]:
    """Rows of SUSPICIOUS_COLUMNS, most suspicious first: clips of which some absent label scores above a given one.

    `labels` are proposals, those that score at least SURE, or else to drop the clip: once looked through, the file
    serves as `training.corrections`. Suspicion is how far the best absent label is above the worst given one.
    """
    present = material.targets >= 0.5
    suspicion = scores.masked_fill(present, 0).amax(1) - scores.masked_fill(~present, 1).amin(1)
    return [
        (
            material.memory.clips[row],
            _joined(material, scores[row] >= SURE) or DROP,
            _joined(material, present[row]),
            "noisy" if material.noisy[row] else "curated",
            f"{float(suspicion[row]):.4f}",
        )
        for row in suspicion.argsort(descending=True, stable=True).tolist()
        if suspicion[row] > 0
    ]


def _joined(material: Material, chosen: Tensor) -> str:
    return join_labels(label for label, here in zip(material.labels, chosen.tolist(), strict=True) if here)
