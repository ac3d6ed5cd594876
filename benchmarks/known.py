"""A trained run's clips of known labels, answered one way or another."""

import numpy as np
import torch

from predict.inference.dataset_clips import answer_clips
from predict.inference.oof_predictions import HeldOut, answer_held_out
from predict.inference.tagger import load_run
from preprocess.dataset.clip_table import read_clips
from preprocess.dataset.labels import encode
from preprocess.store.reader import open_store
from recipe import Prediction
from recipe.cli import Command
from train.evaluate.metrics import lwlrap, mean_average_precision


def answer_known(command: Command, prediction: Prediction, device: torch.device) -> dict[str, HeldOut]:
    """The curated out-of-fold clips, and the labelled test clips where there are any, by what they are."""
    places, n_jobs = command.places, command.options.jobs
    run = load_run(places.run_home, prediction, device)
    out_of_fold = answer_held_out(places, run, device, n_jobs)
    groups = {out_of_fold.what: out_of_fold}
    table = read_clips(places.clips_csv)
    test = table[(table["split"] == "test") & (table["labels"] != "")]
    with open_store(places.store, run.recipe.features) as store:
        answers = answer_clips(test, run, store, device, n_jobs)
    if answers:
        rows = test[test["clip"].isin(answers)]
        truth = encode(rows["labels"], run.labels, clips=rows["clip"])
        what = f"{len(truth)} test clips"
        groups[what] = HeldOut(list(answers.values()), truth, np.full(len(truth), -1), run.activation, what)
    return groups


def measure(clips: HeldOut, prediction: Prediction) -> tuple[float, float]:
    """(lwlrap, mAP) of clips whose windows are pooled as a recipe says."""
    truth, scores = torch.from_numpy(clips.truth), torch.from_numpy(clips.pooled(prediction))
    return lwlrap(truth, scores), mean_average_precision(truth, scores)
