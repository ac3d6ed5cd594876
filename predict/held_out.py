"""Clips as the networks that never saw them answer: what thresholds and calibration may be fitted on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from places import Places
from predict.batching import Sound, collect, hear_all
from predict.mixtures import mix
from predict.stored import Frames, answer_clips, choose_held_out
from predict.tagger import Answer, Run
from preprocess.clips import read_clips
from preprocess.labels import encode
from preprocess.store import open_store
from recipe import Prediction
from train.windows import pool_windows


@dataclass(frozen=True)
class HeldOut:
    """Answers with their truth, aligned."""

    answers: list[Answer]
    truth: np.ndarray
    """float32 [n_clips, n_labels]"""
    folds: np.ndarray
    """[n_clips] int64: whose networks answered."""
    what: str
    """In words."""

    def pooled(self, prediction: Prediction) -> np.ndarray:
        """Scores [n_clips, n_labels] of the clips, pooled over their windows."""
        windows = (torch.from_numpy(answer.windows) for answer in self.answers)
        return np.stack([pool_windows(each, prediction).numpy() for each in windows])

    @property
    def short(self) -> bool:
        """Whether every clip is but a window, or a frame or two longer, and so two."""
        return all(len(answer.windows) <= 2 for answer in self.answers)


def answer_held_out(places: Places, run: Run, device: torch.device, n_jobs: int) -> HeldOut:
    """The curated training clips, each by the networks that never saw its fold."""
    clips = _curated(places, run)
    with open_store(places.store, run.recipe.features) as store:
        answers = answer_clips(clips, run, store, device, n_jobs)
    clips = clips[clips["clip"].isin(answers)]
    truth = encode(clips["labels"], run.labels, clips=clips["clip"])
    return HeldOut(list(answers.values()), truth, clips["fold"].to_numpy(), f"{len(truth)} out-of-fold clips")


def answer_mixtures(places: Places, run: Run, device: torch.device, n_jobs: int, n_mixtures: int) -> HeldOut:
    """Pieces mixed from the curated training clips of one fold each, by the networks that never saw it; seeded."""
    clips = _curated(places, run)
    answers: list[Answer] = []
    labels: list[str] = []
    folds = np.sort(np.resize(np.unique(clips["fold"]), n_mixtures))
    with open_store(places.store, run.recipe.features) as store:
        frames = Frames(store, device)
        for fold in np.unique(folds).tolist():
            tagger, theirs = run.tagger(fold), clips[(clips["fold"] == fold) & clips["clip"].isin(frames.rows)]
            numbers = range(int((folds == fold).sum()))
            mixed = (mix(theirs, frames.read, run.recipe, run.frames_per_second, [fold, number]) for number in numbers)
            sounds = (Sound(joined, [piece]) for joined, piece in mixed)
            for joined, heard in tqdm(collect(hear_all(tagger, sounds, device, n_jobs)), f"fold {fold}", disable=None):
                answers.append(tagger.answer(heard, 0.0, np.inf))
                labels.append(joined)
    return HeldOut(answers, encode(labels, run.labels), folds, f"{n_mixtures} mixtures of out-of-fold clips")


def _curated(places: Places, run: Run) -> pd.DataFrame:
    """The training clips whose labels were checked and whose fold some network never saw."""
    table = read_clips(places.clips_csv)
    return choose_held_out(table[table["trust"] == "curated"], run)
