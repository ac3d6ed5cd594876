"""The clips of a dataset, answered from the frames in its store."""

import itertools
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from core.csv_tables import read_table
from core.errors import UserError
from core.paths import RunPaths
from predict.inference.batching import FrameStream, group_by_clip, score_in_batches
from predict.inference.tagger import ClipPrediction, TrainedRun
from preprocess.store.reader import Store
from preprocess.store.schema import EncodedFrames
from train.runs.seen_clips import find_seen_clip

FAILED_COLUMNS = ["clip", "reason"]
AUGMENT_HINT = (
    "name some in features.pitch_shifts, time_stretches or noise_snrs_db, and run make features with the same keys"
)


def choose_clips(table: pd.DataFrame, run: TrainedRun) -> tuple[pd.DataFrame, str]:
    """The rows to answer, and who answers, in words: test clips, or where there are none the training clips."""
    test = table[table["split"] == "test"]
    if len(test):
        return test, f"{len(test)} test clips, answered by the networks of {len(run.folds)} folds together"
    oof_clips = choose_oof_clips(table, run)
    return oof_clips, f"no test clips: {len(oof_clips)} training clips, each by the networks that never saw its fold"


def choose_oof_clips(table: pd.DataFrame, run: TrainedRun) -> pd.DataFrame:
    """The training clips whose fold some network never saw. Raises UserError where there are none, or one was seen."""
    oof_clips = table[(table["split"] == "train") & table["fold"].isin(run.folds)]
    if oof_clips.empty:
        raise UserError(f"no training clip is in the run's folds {sorted(run.folds)}: run make features and make train")
    for fold, seen_clips in run.seen_clips.items():
        if clip := find_seen_clip(oof_clips.loc[oof_clips["fold"] == fold, "clip"].tolist(), seen_clips):
            raise UserError(
                f"clip {clip!r} is in fold {fold} now, whose networks have learnt from it: run make train again"
            )
    return oof_clips


def find_failed(wanted: pd.DataFrame, store: Store, run_paths: RunPaths) -> pd.DataFrame:
    """FAILED_COLUMNS of the wanted clips that could not be read.

    Raises UserError for a clip that is neither in the store nor known to have failed, and if none is left.
    """
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
    return torch.from_numpy(stored).to(device).float() * scale + offset


class StoredClips:
    """Clips in a store, as they were recorded and as their offline copies sound, by name."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.store, self.device = store, device
        self.rows = {clip: row for row, clip in enumerate(store.clips) if store.variants[row] == 0}

    def read(self, clip: str, variant: int = 0) -> Tensor:
        """A clip's frames float32 [n_frames, n_bins] in the features' unit, on the device; variant 0 is as recorded."""
        stored = self.store.read(self.rows[clip] + variant)
        return dequantise(stored, self.store.scale, self.store.offset, self.device)

    def n_augmented(self, clip: str) -> int:
        """How many offline copies there are; their rows follow the recording's."""
        after = self.store.variants[self.rows[clip] + 1 :]
        return sum(1 for _ in itertools.takewhile(bool, after))

    def streams(self, clip: str, *, augmented: bool) -> Iterator[FrameStream[str]]:
        """The recording, and its copies behind it."""
        for variant in range(1 + (self.n_augmented(clip) if augmented else 0)):
            yield FrameStream(clip, (self.read(clip, number) for number in [variant]))

    def start_and_duration(self, clip: str) -> tuple[float, float]:
        """(start_s, duration_s): what of the recording comes before the first frame, and its length."""
        row = self.rows[clip]
        return float(self.store.start_s[row]), float(self.store.duration_s[row])


def predict_stored_clips(
    clips: pd.DataFrame, run: TrainedRun, store: Store, device: torch.device, n_jobs: int = 1
) -> dict[str, ClipPrediction]:
    """The answer for each clip that the store has: a clip of some network's training is left to the others.

    Raises UserError where `prediction.view_offline_augment` asks for copies that are not there.
    """
    frames, augmented = StoredClips(store, device), run.prediction.view_offline_augment
    clips = clips[clips["clip"].isin(frames.rows)]
    if augmented and (lacking := [clip for clip in clips["clip"] if not frames.n_augmented(clip)]):
        raise UserError(
            f"prediction.view_offline_augment = true: clip {lacking[0]!r} has no copies in {store.path}: {AUGMENT_HINT}"
        )
    clip_predictions: dict[str, ClipPrediction] = {}
    with tqdm(total=len(clips), desc="predict", unit="clip", disable=None) as progress:
        for fold in clips["fold"].unique().tolist():
            tagger = run.tagger(fold if fold in run.folds else None)
            fold_clips = clips.loc[clips["fold"] == fold, "clip"]
            streams = (stream for clip in fold_clips for stream in frames.streams(clip, augmented=augmented))
            window_scores = group_by_clip(score_in_batches(tagger, streams, device, n_jobs))
            for clip, views in itertools.groupby(window_scores, lambda each: each[0]):
                recording, *others = [view for _, view in views]
                clip_predictions[clip] = tagger.pool_clip(recording, *frames.start_and_duration(clip), others)
                progress.update()
    return {clip: clip_predictions[clip] for clip in clips["clip"]}
