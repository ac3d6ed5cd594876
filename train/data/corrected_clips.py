"""The table of clips as every step uses it: labels after `training.corrections`, without the clips they drop."""

from core.entrypoint import log_warning

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core.csv_tables import read_table
from core.errors import UserError
from core.paths import CORRECTIONS_NAME, RunPaths
from preprocess.dataset.clip_table import UNLABELLED, check_frames_digests, read_clip_table
from preprocess.dataset.discovery import expand_user, normalize_label
from preprocess.dataset.labels import join_labels, read_vocabulary, split_labels
from preprocess.store.reader import Store, open_store

DROP = "drop"


@dataclass(frozen=True)
class CorrectedClips:
    """The clips that count, and what they were made of."""

    table: pd.DataFrame
    """As preprocess.dataset.clip_table has it."""
    labels: list[str]
    """The vocabulary."""
    dropped: frozenset[str] = frozenset()
    """Clips that the corrections leave out."""
    corrections: str | None = None
    """The path of the corrections."""


def read_corrected_clips(run_paths: RunPaths, corrections: str | None, store: Store | None = None) -> CorrectedClips:
    """What `make features` wrote of the clips. Raises UserError where the store (by default the one beside the tables,
    if there is one) is not of the same `make features`, and for corrections that do not fit; of a run's own copy, rows
    of clips that are no longer for training are left out.
    """
    table, labels = read_clip_table(run_paths.clips_csv), read_vocabulary(run_paths.labels_csv)
    if store or run_paths.store.exists():
        with nullcontext(store) if store else open_store(run_paths.store) as frames:
            check_frames_digests(run_paths.clips_csv, table, frames.path, frames.frames_digests())
    is_copy = corrections == str(run_paths.run_dir / CORRECTIONS_NAME)
    clips = apply_corrections(table, corrections, labels, is_copy=is_copy)
    labels_before = table.loc[clips.table.index, "labels"]
    if run_paths.events_csv.exists() and not clips.table["labels"].equals(labels_before):
        raise UserError(
            f"training.corrections = {corrections}: labels of clips with events are those of the events, so mend their "
            f"tables and run make features; here only {DROP} is of use"
        )
    return clips


def apply_corrections(
    table: pd.DataFrame, path: str | None, labels: list[str], *, is_copy: bool = False
) -> CorrectedClips:
    """A table of clips after a corrections CSV. Raises UserError for an invalid row, but warns of other clips than the
    training clips where the CSV is a run's copy, which nobody edits.
    """
    if path is None:
        return CorrectedClips(table, labels)
    path = str(expand_user(path, "training.corrections"))
    corrections = read_table(Path(path), ["clip", "labels"], hint="training.corrections names it")
    training, clips = set(table.loc[table["split"] == "train", "clip"]), corrections["clip"]
    if len(unknown := clips[~clips.isin(training)]):
        if not is_copy:
            raise UserError(f"{path} corrects {unknown.iloc[0]!r}, which is no training clip: take its row out")
        rows = f"{len(unknown)} rows of clips that are no training clips now are left out"
        log_warning(f"{path}: {rows}, the first of {unknown.iloc[0]!r}")
        corrections = corrections.drop(unknown.index)
        clips = corrections["clip"]
    if len(repeated := clips[clips.duplicated()]):
        raise UserError(f"{path} corrects {repeated.iloc[0]!r} twice: keep one row of it")
    if DROP in labels:
        raise UserError(
            f"training.corrections = {path}: a label is called {DROP!r}, which leaves a clip out; rename it"
        )
    texts, dropped = dict(zip(table["clip"], table["labels"], strict=True)), set[str]()
    for clip, text in zip(clips, corrections["labels"], strict=True):
        clip_labels = split_labels(normalize_label(text))
        if clip_labels == [DROP]:
            dropped.add(clip)
            continue
        if not clip_labels:
            raise UserError(f"{path} gives {clip!r} no labels: write them, or {DROP}")
        if unknown_labels := [label for label in clip_labels if label not in labels]:
            raise UserError(
                f"{path} gives {clip!r} the label {unknown_labels[0]!r}, which no clip has: mend it, or write {DROP}"
            )
        texts[clip] = join_labels(clip_labels)
    is_labelled_now = (table["label_quality"] == UNLABELLED) & table["clip"].isin(clips)
    table = table.assign(
        labels=list(texts.values()), label_quality=table["label_quality"].mask(is_labelled_now, "noisy")
    )
    kept = table[~table["clip"].isin(dropped)]
    if lost := sorted(_scored_folds(table) - _scored_folds(kept)):
        raise UserError(f"{path} drops all that fold {lost[0]} is scored on: fold {lost[0]} has no curated clip left")
    return CorrectedClips(kept, labels, frozenset(dropped), path)


def _scored_folds(table: pd.DataFrame) -> set[int]:
    return set(table.loc[(table["split"] == "train") & (table["label_quality"] == "curated"), "fold"])
