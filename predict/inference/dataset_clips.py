"""The clips of a dataset, predicted from the frames in its store."""

from core.entrypoint import log_warning

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import compress
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor

from core.csv_tables import read_table
from core.device import DevicePool, to_device
from core.errors import UserError
from core.parallel import run_parallel
from core.paths import RunPaths
from core.progress import progress_bar
from core.resources import available_cores
from predict.inference.run_loader import TrainedRun
from predict.inference.tagger import ClipPrediction
from preprocess.dataset.clip_table import DIGEST_COLUMN
from preprocess.store.file_identity import file_fingerprint, size_and_digest
from preprocess.store.reader import Store, open_store
from preprocess.store.schema import EncodedFrames
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.runs.seen_clips import find_replaced_clip, find_trained_clip, hash_names, have_trained

FAILED_COLUMNS = ["clip", "reason"]
MAX_THREADS = 16
"""With more cores, a thread takes several."""
BATCH_CLIPS = 16

Clip = TypeVar("Clip")


def choose_clips(table: pd.DataFrame, run: TrainedRun) -> tuple[pd.DataFrame, str]:
    """The clips to predict, and by which networks, in words: test clips, or where there are none the training clips.

    Raises UserError for a clip that the networks to be used were trained on.
    """
    test = table[table["split"] == "test"]
    if len(test):
        check_test_clips(table, run)
        return test, f"{len(test)} test clips, by the networks of {len(run.folds)} folds together"
    oof_clips = choose_oof_clips(table, run)
    networks, training = "each by the networks that were not trained on its fold", table[table["split"] == "train"]
    if folds := sorted(set(training["fold"]) - set(run.folds)):
        n_left_out = len(training) - len(oof_clips)
        networks += f"; {n_left_out} of folds {', '.join(map(str, folds))}, which have no network, are left out"
    return oof_clips, f"no test clips: {len(oof_clips)} training clips, {networks}"


def check_test_clips(table: pd.DataFrame, run: TrainedRun) -> None:
    """Raise UserError for a test clip that was a training clip of the run, under this name or another; warn of test
    clips that are training clips as well.
    """
    clips, digests, is_test = (
        table["clip"].tolist(),
        table[DIGEST_COLUMN].tolist(),
        (table["split"] == "test").to_numpy(),
    )
    seen_clips, trained_frames = (torch.cat([*each.values()]) for each in (run.seen_clips, run.trained_frames))
    if clip := find_trained_clip(clips, digests, is_test, seen_clips, trained_frames):
        raise UserError(f"the networks were trained on {clip!r}, which is a test clip now: run make train again")
    is_trained = have_trained(digests, trained_frames) & (table[DIGEST_COLUMN] != "").to_numpy()
    copies = table.loc[is_test & is_trained, "clip"]
    if len(copies):
        log_warning(
            f"{len(copies)} test clip(s) have the very frames of training clips, the first {copies.iloc[0]!r}: "
            "their scores are better than those of new sounds"
        )


def choose_oof_clips(table: pd.DataFrame, run: TrainedRun) -> pd.DataFrame:
    """The training clips of the run's folds. Raises UserError where none could be read, where networks were trained on
    one of their own fold, under this name or another, and where recordings were replaced since.

    `table` has all clips that count, whatever their labels: frames that a clip of another fold has too are a copy in
    the dataset, of which make survey tells, and are let pass though that fold's networks were trained on them.
    """
    training = table[table["split"] == "train"]
    oof_clips = training[training["fold"].isin(run.folds)]
    if (oof_clips[DIGEST_COLUMN] == "").all():
        raise UserError(
            f"no training clip that could be read is in the run's folds {sorted(run.folds)}: run make features, look "
            "into its failed.csv, and run make train"
        )
    clips, digests = training["clip"].tolist(), training[DIGEST_COLUMN].tolist()
    for fold, trained_frames in run.trained_frames.items():
        in_fold = (training["fold"] == fold).to_numpy()
        if clip := find_trained_clip(clips, digests, in_fold, run.seen_clips[fold], trained_frames):
            raise UserError(
                f"clip {clip!r} is in fold {fold} now, whose networks were trained on it: run make train again"
            )
        if clip := find_replaced_clip(clips, digests, trained_frames):
            raise UserError(f"the recording of clip {clip!r} was replaced since the training: run make train again")
    return oof_clips


def find_trained_recordings(recordings: Mapping[str, Path], run: TrainedRun, store_path: Path) -> list[str]:
    """Those of some recordings, by name, that the networks were trained on, or are copies of such a recording."""
    if not store_path.exists():
        return []
    seen_clips, trained_frames = (torch.cat([*each.values()]) for each in (run.seen_clips, run.trained_frames))
    with open_store(store_path) as store:
        is_seen = torch.isin(hash_names(store.clips), seen_clips).numpy() | have_trained(store.digests, trained_frames)
        trained = {size_and_digest(source) for source in compress(store.sources, is_seen)} - {""}
    return [clip for clip, path in recordings.items() if size_and_digest(file_fingerprint(str(path))) in trained]


def find_failed(wanted: pd.DataFrame, store: Store, run_paths: RunPaths) -> pd.DataFrame:
    """FAILED_COLUMNS of the wanted clips that could not be read. Raises UserError for an unknown clip, or for all."""
    path = run_paths.failed_csv
    failed = read_table(path, FAILED_COLUMNS) if path.exists() else pd.DataFrame(columns=FAILED_COLUMNS)
    absent = wanted.loc[~wanted["clip"].isin(store.clips), "clip"]
    if lost := sorted(set(absent) - set(failed["clip"])):
        raise UserError(
            f"clip {lost[0]!r} is in {run_paths.clips_csv} but not in {run_paths.store}: run make features again"
        )
    if len(absent) == len(wanted):
        raise UserError(f"none of the {len(wanted)} clips to score could be read: see {path}")
    return failed.loc[failed["clip"].isin(absent), FAILED_COLUMNS]


def dequantise(stored: EncodedFrames, scale: float, offset: float, device: torch.device) -> Tensor:
    """Stored frames [n_frames, n_bins] as float32 on the device, in the features' unit."""
    return to_device(torch.from_numpy(stored), device).float() * scale + offset


class StoredClips:
    """The clips of a store, by name, as they were recorded."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.store, self.device = store, device
        self.rows = {clip: row for row, clip in enumerate(store.clips) if store.variants[row] == 0}

    def read(self, clip: str) -> Tensor:
        """A clip's frames float32 [n_frames, n_bins] in the features' unit, on the device."""
        return dequantise(self.store.read(self.rows[clip]), self.store.scale, self.store.offset, self.device)


def predict_stored_clips(
    clips: pd.DataFrame,
    run: TrainedRun,
    store: Store,
    device: torch.device,
    n_jobs: int = 1,
    devices: Sequence[str] = (),
) -> dict[str, ClipPrediction]:
    """The prediction for each clip in the store; a training clip's by the networks that were not trained on it.

    Clips are scored on `device`, where the networks are, or on several `devices`.
    """
    stored = StoredClips(store, device)
    clips = clips[clips["clip"].isin(stored.rows)]
    predictions: dict[str, ClipPrediction] = {}
    with progress_bar(len(clips), "predict", "clip") as progress:
        for fold in clips["fold"].unique().tolist():
            tagger = run.tagger(fold if fold in run.folds else None)
            names = clips.loc[clips["fold"] == fold, "clip"].tolist()
            for clip, windows in score_side_by_side(tagger.scorer, names, stored.read, device, n_jobs, devices):
                row = stored.rows[clip]
                predictions[clip] = tagger.pool_clip(windows, store.start_s[row], store.duration_s[row])
                progress.update()
    return {clip: predictions[clip] for clip in clips["clip"]}


def score_side_by_side(
    scorer: WindowScorer,
    clips: Sequence[Clip],
    read: Callable[[Clip], Tensor],
    device: torch.device,
    n_jobs: int,
    devices: Sequence[str] = (),
) -> Iterator[tuple[Clip, WindowScores]]:
    """Yield (clip, its windows), in any order: threads read and score batches of clips; for a GPU, one thread.

    The scorer's networks are on `device`; where `devices` names several, batches are dealt to them.
    """
    scorers = {name: scorer if name == str(device) else scorer.copy_to(name) for name in devices or [str(device)]}
    n_threads = min(n_jobs, MAX_THREADS) if device.type == "cpu" else len(scorers)
    pool = DevicePool(list(scorers), n_threads)
    batches = [clips[start : start + BATCH_CLIPS] for start in range(0, len(clips), BATCH_CLIPS)]

    def score(batch: Sequence[Clip]) -> list[tuple[Clip, WindowScores]]:
        torch.set_num_threads(max(1, min(n_jobs, available_cores()) // n_threads))  # of this thread
        with pool.take() as name:
            windows = scorers[name].score_clips([read(clip).to(name)] for clip in batch)
            return list(zip(batch, windows, strict=True))

    with closing(run_parallel(score, batches, n_threads)) as results:
        for scored in results:
            yield from scored
