"""The clips of a dataset, answered from the frames in its store."""

import itertools
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from core.csv_tables import read_table
from core.errors import BadInput
from core.paths import Places
from predict.inference.batching import Sound, collect, hear_all
from predict.inference.tagger import Answer, Run
from preprocess.store.reader import Store
from preprocess.store.schema import Stored
from train.runs.seen_clips import first_learnt

FAILED_COLUMNS = ["clip", "reason"]
COPY = "name some in features.pitch_shifts, time_stretches or noise_snrs_db, and run make features with the same keys"


def choose_clips(table: pd.DataFrame, run: Run) -> tuple[pd.DataFrame, str]:
    """The rows to answer, and who answers, in words: test clips, or where there are none the training clips."""
    test = table[table["split"] == "test"]
    if len(test):
        return test, f"{len(test)} test clips, answered by the networks of {len(run.folds)} folds together"
    held_out = choose_held_out(table, run)
    return held_out, f"no test clips: {len(held_out)} training clips, each by the networks that never saw its fold"


def choose_held_out(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """The training clips whose fold some network never saw. Raises BadInput where there are none, or one was seen."""
    held_out = table[(table["split"] == "train") & table["fold"].isin(run.folds)]
    if held_out.empty:
        raise BadInput(f"no training clip is in the run's folds {sorted(run.folds)}: run make features and make train")
    for fold, learnt in run.learnt.items():
        if clip := first_learnt(held_out.loc[held_out["fold"] == fold, "clip"].tolist(), learnt):
            raise BadInput(
                f"clip {clip!r} is in fold {fold} now, whose networks have learnt from it: run make train again"
            )
    return held_out


def find_failed(wanted: pd.DataFrame, store: Store, places: Places) -> pd.DataFrame:
    """FAILED_COLUMNS of the wanted clips that could not be read.

    Raises BadInput for a clip that is neither in the store nor known to have failed, and if none is left.
    """
    path = places.failed_csv
    known = read_table(path, FAILED_COLUMNS) if path.exists() else pd.DataFrame(columns=FAILED_COLUMNS)
    absent = wanted.loc[~wanted["clip"].isin(store.clips), "clip"]
    if lost := sorted(set(absent) - set(known["clip"])):
        raise BadInput(f"clip {lost[0]!r} is in {places.clips_csv} but not in {places.store}: run make features again")
    if len(absent) == len(wanted):
        raise BadInput(f"none of the {len(wanted)} clips to score could be read: see {path}")
    return known.loc[known["clip"].isin(absent), FAILED_COLUMNS]


def values_of(stored: Stored, scale: float, offset: float, device: torch.device) -> Tensor:
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
        return values_of(stored, self.store.scale, self.store.offset, self.device)

    def n_copies(self, clip: str) -> int:
        """How many offline copies there are; their rows follow the recording's."""
        after = self.store.variants[self.rows[clip] + 1 :]
        return sum(1 for _ in itertools.takewhile(bool, after))

    def sounds(self, clip: str, *, copies: bool) -> Iterator[Sound[str]]:
        """The recording, and its copies behind it."""
        for variant in range(1 + (self.n_copies(clip) if copies else 0)):
            yield Sound(clip, (self.read(clip, number) for number in [variant]))

    def times(self, clip: str) -> tuple[float, float]:
        """(start_s, duration_s): what of the recording comes before the first frame, and its length."""
        row = self.rows[clip]
        return float(self.store.start_s[row]), float(self.store.duration_s[row])


def answer_clips(
    clips: pd.DataFrame, run: Run, store: Store, device: torch.device, n_jobs: int = 1
) -> dict[str, Answer]:
    """The answer for each clip that the store has: a clip of some network's training is left to the others.

    Raises BadInput where `prediction.view_copies` asks for copies that are not there.
    """
    frames, copies = StoredClips(store, device), run.prediction.view_copies
    clips = clips[clips["clip"].isin(frames.rows)]
    if copies and (lacking := [clip for clip in clips["clip"] if not frames.n_copies(clip)]):
        raise BadInput(f"prediction.view_copies = true: clip {lacking[0]!r} has no copies in {store.path}: {COPY}")
    answers: dict[str, Answer] = {}
    with tqdm(total=len(clips), desc="predict", unit="clip", disable=None) as progress:
        for fold in clips["fold"].unique().tolist():
            tagger, theirs = run.tagger(fold if fold in run.folds else None), clips.loc[clips["fold"] == fold, "clip"]
            sounds = (sound for clip in theirs for sound in frames.sounds(clip, copies=copies))
            heard = collect(hear_all(tagger, sounds, device, n_jobs))
            for clip, views in itertools.groupby(heard, lambda each: each[0]):
                recording, *others = [view for _, view in views]
                answers[clip] = tagger.answer(recording, *frames.times(clip), others)
                progress.update()
    return {clip: answers[clip] for clip in clips["clip"]}
