"""What a run learns from and is scored on: the training clips in memory, their targets, and which fold holds which."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xxhash
from torch import Tensor

from core.csv_tables import read_table
from core.errors import BadInput
from core.paths import Places
from preprocess.dataset.clip_table import read_clips
from preprocess.dataset.discovery import clean_label
from preprocess.dataset.labels import encode, is_single_label, join_labels, read_vocabulary, split_labels
from preprocess.store.reader import open_store
from recipe import Recipe, Training
from train.data.frame_bank import Memory, load_memory

DROP = "drop"


@dataclass(frozen=True)
class Material:
    """Training clips, aligned: row r of the memory has targets[r], folds[r], noisy[r] and kept[r]."""

    memory: Memory
    labels: list[str]
    targets: Tensor
    """float32 [n_clips, n_labels] on the CPU, after corrections."""
    folds: np.ndarray
    """[n_clips] int64: the fold whose networks never see the clip."""
    noisy: Tensor
    """bool [n_clips] on the CPU: labels that nobody checked."""
    kept: np.ndarray
    """[n_clips] bool: not dropped by the corrections."""
    mean: Tensor | float
    std: Tensor | float
    """Of the frames: one number, or one a bin, as the network normalises."""
    untaught: "Material | None" = None
    """As it was before a teacher judged its noisy clips."""

    def fold_names(self) -> list[int]:
        return sorted({int(fold) for fold in self.folds})

    def to_learn(self, fold: int, *, with_noisy: bool) -> np.ndarray:
        """Rows that the networks of `fold` learn from."""
        return np.flatnonzero((self.folds != fold) & self.kept & (with_noisy | ~self.noisy.numpy()))

    def names(self, rows: np.ndarray) -> list[str]:
        """The clips of some rows."""
        return [self.memory.clips[row] for row in rows.tolist()]

    def drawn(self, fold: int, training: Training) -> np.ndarray:
        """Rows that are drawn for the networks of `fold`: noisy ones where they count and their rate comes to any."""
        curated = self.to_learn(fold, with_noisy=False)
        n_noisy = round(training.noisy_rate * len(curated)) if len(curated) else 1  # without others all are drawn
        return self.to_learn(fold, with_noisy=True) if training.noisy_weight > 0 and n_noisy else curated

    def lesson(self, fold: int, training: Training) -> str:
        """A digest of the clips that the networks of `fold` learn from, and of their targets.

        Noisy ones as they were given: a teacher's scores differ between devices by a hair, which may be a label.
        """
        given = self.untaught or self
        rows = given.drawn(fold, training)
        names = "\0".join([*self.labels, "", *self.names(rows)]).encode("utf-8", "surrogateescape")
        noisy = np.flatnonzero(self.noisy[rows].numpy())
        return xxhash.xxh3_128_hexdigest(names + given.targets[rows].numpy().tobytes() + noisy.tobytes())

    def held_out(self, fold: int) -> np.ndarray:
        """Rows that score the networks of `fold`: its curated clips. Raises BadInput where there are none."""
        rows = np.flatnonzero((self.folds == fold) & self.kept & ~self.noisy.numpy())
        if not len(rows):
            raise BadInput(f"fold {fold} has no curated clip left to be scored on: see failed.csv and the corrections")
        return rows


def load_material(recipe: Recipe, places: Places, device: torch.device, *, quiet: bool = False) -> Material:
    """Read the table of clips, the vocabulary and the store; `quiet` where another process has said what is missing.

    Raises BadInput where they do not fit the recipe.
    """
    table = read_clips(places.clips_csv)
    table = table[table["split"] == "train"].set_index("clip", drop=False)
    labels = read_vocabulary(places.labels_csv)
    table, dropped = correct(table, recipe.training.corrections, labels)
    memory = load_memory(places.store, recipe.features, list(table["clip"]), device)
    if (missing := len(table) - len(memory.clips)) and not quiet:
        print(f"{missing} training clips are not in the store (see {places.failed_csv}): left out", file=sys.stderr)
    table = table.loc[memory.clips]
    targets = torch.from_numpy(encode(table["labels"], labels, clips=table["clip"]))
    mean, std = _statistics(recipe, places)
    material = Material(
        memory=memory,
        labels=labels,
        targets=targets,
        folds=table["fold"].to_numpy(),
        noisy=torch.tensor((table["trust"] == "noisy").tolist()),
        kept=~table["clip"].isin(dropped).to_numpy(),
        mean=mean,
        std=std,
    )
    _check(material, recipe)
    return material


def correct(table: pd.DataFrame, path: str | None, vocabulary: Sequence[str]) -> tuple[pd.DataFrame, set[str]]:
    """The table with the labels of a corrections CSV, and the clips it drops.

    Raises BadInput that names the CSV for a clip or label that is not known, and for a clip without labels.
    """
    if path is None:
        return table, set()
    corrections = read_table(Path(path), ["clip", "labels"], hint="training.corrections names it")
    unknown = corrections.loc[~corrections["clip"].isin(table["clip"]), "clip"]
    if len(unknown):
        raise BadInput(f"{path} corrects {unknown.iloc[0]!r}, which is no training clip: take its row out")
    if twice := list(corrections.loc[corrections["clip"].duplicated(), "clip"]):
        raise BadInput(f"{path} corrects {twice[0]!r} twice: keep one row of it")
    if DROP in vocabulary:
        raise BadInput(f"training.corrections = {path}: a label is called {DROP!r}, which leaves a clip out; rename it")
    better = {
        clip: split_labels(clean_label(text))
        for clip, text in zip(corrections["clip"], corrections["labels"], strict=True)
    }
    dropped = {clip for clip, labels in better.items() if labels == [DROP]}
    kept = {clip: labels for clip, labels in better.items() if clip not in dropped}
    for clip, labels in kept.items():
        if not labels:
            raise BadInput(f"{path} gives {clip!r} no labels: write them, or {DROP}")
        if strange := [label for label in labels if label not in vocabulary]:
            raise BadInput(
                f"{path} gives {clip!r} the label {strange[0]!r}, which no clip has: mend it, or write {DROP}"
            )
    texts = {clip: join_labels(labels) for clip, labels in kept.items()}
    labels = [texts.get(clip, labels) for clip, labels in zip(table["clip"], table["labels"], strict=True)]
    return table.assign(labels=labels), dropped


def choose_folds(wanted: str, there: Sequence[int]) -> list[int]:
    """The folds that `--folds` means: all, or some by number. Raises BadInput that names those there are."""
    if wanted == "all":
        return list(there)
    try:
        folds = [int(fold) for fold in wanted.split(",")]
    except ValueError:
        raise BadInput(f"--folds {wanted}: write all, or numbers as 0,2") from None
    for fold in folds:
        if fold not in there:
            raise BadInput(f"--folds {wanted}: there is no fold {fold}, only {', '.join(map(str, there))}")
    return sorted(set(folds))


def _statistics(recipe: Recipe, places: Places) -> tuple[Tensor | float, Tensor | float]:
    with open_store(places.store, recipe.features) as store:
        if recipe.network.normalise == "bins":
            # A bin that never changes, as above a codec's cut-off, must not be blown up.
            least = max(0.1 * float(store.std), 1e-6)
            return torch.from_numpy(store.bin_mean), torch.from_numpy(store.bin_std).clamp(min=least)
        return float(store.mean), max(float(store.std), 1e-6)


def _check(material: Material, recipe: Recipe) -> None:
    """Raise BadInput where loss or metric ask for one label a clip and the clips have more."""
    curated = material.targets[~material.noisy & torch.from_numpy(material.kept)]
    if recipe.training.metric == "accuracy" and not is_single_label(curated):
        raise BadInput("training.metric = accuracy: needs exactly one label a clip; use lwlrap or map")
    if recipe.training.loss == "cross_entropy" and not is_single_label(curated):
        raise BadInput("training.loss = cross_entropy: needs exactly one label a clip; use bce")
