"""The training clips of a run in memory, with their targets and folds."""

from core.entrypoint import get_logger

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xxhash
from torch import Tensor

from core.errors import UserError
from core.paths import RunPaths
from preprocess.dataset.annotations.event_table import read_event_table
from preprocess.dataset.clip_table import DIGEST_COLUMN, UNLABELLED
from preprocess.dataset.labels import is_single_label, to_multi_hot
from recipe import Recipe, Training
from train.data.corrected_clips import read_corrected_clips
from train.data.events import ClipEvents, make_clip_events
from train.data.frame_bank import FrameBank, load_frame_bank

MEMORY_BUDGETS: dict[str, dict[str, int]] = {
    "auto": {},
    "memory": {"host_bytes": sys.maxsize},
    "file": {"device_bytes": 0, "host_bytes": 0},
}
"""What load_frame_bank is told by `training.frame_storage`."""


@dataclass(frozen=True)
class TrainingSet:
    """Training clips, aligned: row r of the frame bank has targets[r], folds[r], noisy[r] and kept[r]."""

    frame_bank: FrameBank
    labels: list[str]
    targets: Tensor
    """float32 [n_clips, n_labels] on the CPU, after corrections."""
    folds: np.ndarray
    """[n_clips] int64: the fold that holds the clip out."""
    noisy: Tensor
    """bool [n_clips] on the CPU: unchecked labels, or none."""
    unlabelled: np.ndarray
    """[n_clips] bool: without labels until a teacher scores them."""
    kept: np.ndarray
    """[n_clips] bool: not left out, as a teacher does, and as unlabelled clips are without one."""
    events: ClipEvents | None = None
    """Labels in time, where the dataset has them: then crops and windows have labels, and targets are of whole clips.
    """
    before_relabelling: "TrainingSet | None" = None
    """The same before a teacher relabelled its noisy clips."""

    def fold_numbers(self) -> list[int]:
        return sorted({int(fold) for fold in self.folds})

    def eligible_rows(self, fold: int, *, with_noisy: bool) -> np.ndarray:
        """Rows that may train the networks of `fold`."""
        return np.flatnonzero((self.folds != fold) & self.kept & (with_noisy | ~self.noisy.numpy()))

    def clip_names(self, rows: np.ndarray) -> list[str]:
        return [self.frame_bank.clips[row] for row in rows.tolist()]

    def training_rows(self, fold: int, training: Training) -> np.ndarray:
        """Rows that are drawn for the networks of `fold`: noisy ones where their weight and number are above 0."""
        curated = self.eligible_rows(fold, with_noisy=False)
        n_noisy = round(training.noisy_rate * len(curated)) if len(curated) else 1  # where all are noisy, all are drawn
        return self.eligible_rows(fold, with_noisy=True) if training.noisy_weight > 0 and n_noisy else curated

    def normalisation(self, rows: np.ndarray, *, by_bin: bool) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the frames of some rows, by which a network normalises: [1], or [n_bins]."""
        mean, variance = self.frame_bank.bin_moments(rows.tolist())
        overall_std = (variance.mean() + mean.var(correction=0)).sqrt().clamp(min=1e-6)
        if by_bin:  # some are constant, as above a codec's cut-off
            return mean, variance.sqrt().clamp(min=0.1 * float(overall_std))
        return mean.mean()[None], overall_std[None]

    def training_data_digest(self, fold: int, training: Training) -> str:
        """A digest of the clips that train the networks of `fold`, of their frames and of their targets.

        Noisy clips count with the targets before relabelling, because a teacher's scores differ between devices.
        """
        before = self.before_relabelling or self
        rows = before.training_rows(fold, training)
        if training.teacher:
            unlabelled = np.flatnonzero(self.unlabelled & (self.folds != fold))
            rows = np.union1d(rows, unlabelled)
        frames_digests = [self.frame_bank.digests[row] for row in rows.tolist()]
        names = "\0".join([*self.labels, "", *self.clip_names(rows), "", *frames_digests])
        noisy = np.flatnonzero(self.noisy[rows].numpy())
        return xxhash.xxh3_128_hexdigest(
            names.encode("utf-8", "surrogateescape")
            + before.targets[rows].numpy().tobytes()
            + noisy.tobytes()
            + (self.events.content_of(rows) if self.events else b"")
        )

    def curated_rows(self) -> np.ndarray:
        """Rows with checked labels, on which networks are scored."""
        return np.flatnonzero(~self.noisy.numpy())

    def validation_rows(self, fold: int) -> np.ndarray:
        """Rows that score the networks of `fold`: its curated clips. Raises UserError where none is left."""
        rows = self.curated_rows()
        rows = rows[self.folds[rows] == fold]
        if not len(rows):
            raise UserError(f"fold {fold} has no curated clip left to be scored on: see failed.csv and the corrections")
        return rows


def load_training_set(
    recipe: Recipe,
    run_paths: RunPaths,
    device: torch.device,
    *,
    quiet: bool = False,
    shared: bool = False,
    on_device: bool = True,
) -> TrainingSet:
    """Read the table of clips, the vocabulary and the store; `quiet` logs no missing clips, `shared` is for parallel
    processes; unless `on_device`, a GPU's memory is left to them. Raises UserError where they do not fit the recipe.
    """
    clips, storage = read_corrected_clips(run_paths, recipe.training.corrections), recipe.training.frame_storage
    table, labels = clips.table[clips.table["split"] == "train"].set_index("clip", drop=False), clips.labels
    names, budget = list(table["clip"]), MEMORY_BUDGETS[storage] | ({} if on_device else {"device_bytes": 0})
    try:
        frame_bank = load_frame_bank(run_paths.store, recipe.features, names, device, shared=shared, **budget)
    except MemoryError:
        raise UserError(f"training.frame_storage = {storage}: the frames do not fit in memory; use file") from None
    if (missing := len(table) - len(frame_bank.clips)) and not quiet:
        get_logger().warning(f"{missing} training clips are not in the store (see {run_paths.failed_csv}): left out")
    table = table.loc[frame_bank.clips]
    if frame_bank.digests != table[DIGEST_COLUMN].tolist():
        raise UserError(f"{run_paths.store} was replaced while it was read: run the same command again")
    events = read_event_table(run_paths.events_csv)
    clip_events = None
    if events is not None:
        clip_events = make_clip_events(events, frame_bank, labels, recipe.features, recipe.training, quiet=quiet)
    unlabelled = (table["label_quality"] == UNLABELLED).to_numpy()
    training_set = TrainingSet(
        frame_bank=frame_bank,
        labels=labels,
        targets=torch.from_numpy(to_multi_hot(table["labels"], labels, clips=table["clip"])),
        folds=table["fold"].to_numpy(),
        noisy=torch.tensor((table["label_quality"] != "curated").tolist()),
        unlabelled=unlabelled,
        kept=~unlabelled,
        events=clip_events,
    )
    _check_single_label(training_set, recipe)
    return training_set


def parse_folds(requested: str, available_folds: Sequence[int], option: str = "--folds") -> list[int]:
    """The folds that an option means: all, or some by number. Raises UserError that names those there are."""
    if requested == "all":
        return list(available_folds)
    try:
        folds = [int(fold) for fold in re.split(r"[,\s]+", requested)]
    except ValueError:
        raise UserError(f"{option} {requested}: write all, or numbers as 0,2") from None
    if missing := [fold for fold in folds if fold not in available_folds]:
        known = ", ".join(map(str, available_folds))
        raise UserError(f"{option} {requested}: there is no fold {missing[0]}, only {known}")
    return sorted(set(folds))


def _check_single_label(training_set: TrainingSet, recipe: Recipe) -> None:
    """Raise UserError where loss or metric ask for one label a clip and the clips, or crops of them, have more."""
    if is_single_label(training_set.targets[training_set.curated_rows()]) and not training_set.events:
        return
    if recipe.training.metric == "accuracy":
        raise UserError("training.metric = accuracy: needs exactly one label a clip; use lwlrap or map")
    if recipe.training.loss == "cross_entropy":
        raise UserError("training.loss = cross_entropy: needs exactly one label a clip; use bce")
