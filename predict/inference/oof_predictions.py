"""Clips as the networks that never saw them answer: what thresholds and calibration may be fitted on."""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from core.errors import BadInput
from core.paths import Places
from predict.decide.calibration import soften
from predict.inference.batching import Sound, collect, hear_all
from predict.inference.dataset_clips import StoredClips, answer_clips, choose_held_out
from predict.inference.synthetic_mixtures import mix
from predict.inference.tagger import Answer, Run, pool_views
from preprocess.dataset.clip_table import read_clips
from preprocess.dataset.labels import encode
from preprocess.store.reader import open_store
from recipe import Prediction, Tuning
from train.networks.factory import Activation


@dataclass(frozen=True)
class HeldOut:
    """Answers with their truth, aligned."""

    answers: list[Answer]
    truth: np.ndarray
    """float32 [n_clips, n_labels]"""
    folds: np.ndarray
    """[n_clips] int64: whose networks answered."""
    activation: Activation
    what: str
    """In words."""

    def pooled(self, prediction: Prediction, temperature: float = 1.0) -> np.ndarray:
        """Scores [n_clips, n_labels] of the clips, pooled over their windows at a temperature."""
        views = [answer.views for answer in self.answers]
        together = torch.from_numpy(np.concatenate([view for clip in views for view in clip]))
        windows = iter(soften(together, temperature, self.activation).split([len(v) for clip in views for v in clip]))
        return np.stack([pool_views(list(islice(windows, len(clip))), prediction).numpy() for clip in views])

    def part(self, chosen: np.ndarray) -> "HeldOut":
        """Some of the clips, by a boolean [n_clips]."""
        answers = [answer for answer, here in zip(self.answers, chosen, strict=True) if here]
        return replace(self, answers=answers, truth=self.truth[chosen], folds=self.folds[chosen])

    @property
    def short(self) -> bool:
        """Whether no clip has more than two windows; one a frame longer than a window has two."""
        return all(len(answer.windows) <= 2 for answer in self.answers)


def answer_held_out(places: Places, run: Run, device: torch.device, n_jobs: int) -> HeldOut:
    """The curated training clips, each by the networks that never saw its fold."""
    clips = _curated(places, run)
    with open_store(places.store, run.recipe.features) as store:
        answers = answer_clips(clips, run, store, device, n_jobs)
    clips = clips[clips["clip"].isin(answers)]
    truth = encode(clips["labels"], run.labels, clips=clips["clip"])
    what = f"{len(truth)} out-of-fold clips"
    return HeldOut(list(answers.values()), truth, clips["fold"].to_numpy(), run.activation, what)


def answer_mixtures(places: Places, run: Run, device: torch.device, n_jobs: int, tuning: Tuning) -> HeldOut:
    """Pieces mixed from the curated training clips of one fold each, by the networks that never saw it; seeded."""
    clips, recipe = _curated(places, run), replace(run.recipe, tuning=tuning)
    answers: list[Answer] = []
    labels: list[str] = []
    with open_store(places.store, run.recipe.features) as store:
        frames = StoredClips(store, device)
        clips = clips[clips["clip"].isin(frames.rows)]
        if clips.empty:
            raise BadInput(f"{places.store} has no curated training clip to mix: see {places.failed_csv}")
        folds = np.sort(np.resize(np.unique(clips["fold"]), tuning.mixtures))
        for fold in np.unique(folds).tolist():
            tagger, theirs = run.tagger(fold), clips[clips["fold"] == fold]
            numbers = range(int((folds == fold).sum()))
            mixed = (mix(theirs, frames.read, recipe, run.frames_per_second, [fold, number]) for number in numbers)
            sounds = (Sound(joined, [piece]) for joined, piece in mixed)
            for joined, heard in tqdm(collect(hear_all(tagger, sounds, device, n_jobs)), f"fold {fold}", disable=None):
                answers.append(tagger.answer(heard, 0.0, np.inf))
                labels.append(joined)
    what = f"{tuning.mixtures} mixtures of out-of-fold clips"
    return HeldOut(answers, encode(labels, run.labels), folds, run.activation, what)


def _curated(places: Places, run: Run) -> pd.DataFrame:
    """The training clips whose labels were checked and whose fold some network never saw."""
    table = read_clips(places.clips_csv)
    return choose_held_out(table[table["trust"] == "curated"], run)
