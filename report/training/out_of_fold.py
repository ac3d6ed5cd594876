"""The training clips of a run as the networks that were not trained on them score them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from predict.inference.dataset_clips import choose_oof_clips, predict_stored_clips
from predict.inference.run_loader import TrainedRun
from predict.output.summary import SubmissionSummary, summarise_scores
from preprocess.dataset.clip_table import UNLABELLED
from preprocess.dataset.labels import TRAIN_AGAIN, to_multi_hot
from preprocess.store.reader import Store
from recipe.cli import Command
from train.evaluate.score_table import ScoreTable


@dataclass(frozen=True)
class OofSummary:
    """Out-of-fold scores of the training clips, noisy ones too, beside the labels that they were trained with."""

    clips: SubmissionSummary
    """Its truth are the labels given, of noisy clips too."""
    folds: np.ndarray
    """int64 [n_clips]"""
    is_noisy: np.ndarray
    """boolean [n_clips]"""

    @cached_property
    def curated(self) -> SubmissionSummary:
        """The clips of checked labels: those that metrics are of."""
        rows = np.flatnonzero(~self.is_noisy)
        clips = [self.clips.clips[row] for row in rows]
        return replace(self.clips, clips=clips, scores=self.clips.scores[rows], truth=self.clips.truth[rows])


def summarise_out_of_fold(
    command: Command, run: TrainedRun, store: Store, clips: pd.DataFrame, device: torch.device, n_jobs: int
) -> OofSummary:
    """Score the training clips of a run's folds anew, in the way that the command's recipe predicts.

    `clips` is the table of clips that count; those without labels are not scored. Raises UserError as choose_oof_clips
    does, which asks whether frames are of other clips too, without labels or not.
    """
    oof_clips = choose_oof_clips(clips, run)
    oof_clips = oof_clips[oof_clips["label_quality"] != UNLABELLED]
    predictions = predict_stored_clips(oof_clips, run, store, device, n_jobs)
    table = clips.set_index("clip").loc[list(predictions)]
    scores = ScoreTable(list(predictions), run.labels, np.stack([each.scores for each in predictions.values()]))
    truth = to_multi_hot(table["labels"], run.labels, clips=table.index, advice=TRAIN_AGAIN)
    summary = summarise_scores(command, scores, truth)
    return OofSummary(summary, np.array(table["fold"]), np.array(table["label_quality"] != "curated"))
