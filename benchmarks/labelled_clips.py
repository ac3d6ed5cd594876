"""A trained run's clips of known labels, scored with different prediction settings."""

import numpy as np
import torch

from predict.inference.dataset_clips import predict_stored_clips
from predict.inference.oof_predictions import OofPredictions, predict_out_of_fold
from predict.inference.run_loader import load_run
from preprocess.dataset.clip_table import read_clip_table
from preprocess.dataset.labels import to_multi_hot
from preprocess.store.reader import open_store
from recipe import Prediction
from recipe.cli import Command
from train.evaluate.metrics import lwlrap, mean_average_precision


def predict_labelled_clips(command: Command, prediction: Prediction, device: torch.device) -> dict[str, OofPredictions]:
    """The curated out-of-fold clips, and the labelled test clips where there are any, by what they are."""
    run_paths, n_jobs = command.run_paths, command.options.jobs
    run = load_run(run_paths.run_dir, prediction, device)
    out_of_fold = predict_out_of_fold(run_paths, run, device, n_jobs, run.recipe.training.corrections)
    groups = {out_of_fold.description: out_of_fold}
    table = read_clip_table(run_paths.clips_csv)
    test = table[(table["split"] == "test") & (table["labels"] != "")]
    with open_store(run_paths.store, run.recipe.features) as store:
        clip_predictions = predict_stored_clips(test, run, store, device, n_jobs)
    if clip_predictions:
        rows = test[test["clip"].isin(clip_predictions)]
        truth = to_multi_hot(rows["labels"], run.labels, clips=rows["clip"])
        description = f"{len(truth)} test clips"
        groups[description] = OofPredictions(
            list(clip_predictions.values()), truth, np.full(len(truth), -1), run.activation, description
        )
    return groups


def compute_ranking_metrics(oof_predictions: OofPredictions, prediction: Prediction) -> tuple[float, float]:
    """(lwlrap, mAP) of clips whose windows are pooled as a recipe says."""
    truth, scores = torch.from_numpy(oof_predictions.truth), torch.from_numpy(oof_predictions.pool_scores(prediction))
    return lwlrap(truth, scores), mean_average_precision(truth, scores)
