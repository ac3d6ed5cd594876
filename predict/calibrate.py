"""SCRIPT make calibrate: a run's temperatures, fitted on its out-of-fold scores and on unlabelled test clips."""

from core.entrypoint import run_script

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from core.device import pick_device
from core.errors import UserError
from core.paths import CALIBRATION_NAME, RunPaths
from predict.decide.calibration import (
    BIN_COLUMNS,
    calibration_error,
    fit_blend_temperature,
    fit_temperature,
    log_loss,
    reliability_bins,
)
from predict.decide.fitted_params import NO_PROBABILITY, Temperatures, write_params
from predict.inference.dataset_clips import check_test_clips, predict_stored_clips
from predict.inference.oof_predictions import OofPredictions, pool_predictions, predict_out_of_fold
from predict.inference.run_loader import TrainedRun, load_run
from predict.inference.tagger import ClipPrediction
from preprocess.store.reader import open_store
from recipe import Prediction, as_dict
from recipe.cli import add_device_options, parse_command, resolve_n_jobs
from train.data.corrected_clips import read_corrected_clips
from train.runs.run_folder import find_corrections

MIN_UNSEEN = 5
"""Fewer test clips say too little of how all networks together differ from those of one fold."""


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Fit a run's temperatures on out-of-fold scores.", add_device_options)
    device, n_jobs = pick_device(command.options.device), resolve_n_jobs(command.options.jobs)
    if command.recipe.prediction.pooling == "vote_fraction":
        raise UserError(NO_PROBABILITY)
    run = load_run(command.run_paths.run_dir, replace(command.recipe.prediction, calibrate=False), device)
    corrections = find_corrections(command.run_paths, command.recipe)
    oof = predict_out_of_fold(command.run_paths, run, device, n_jobs, corrections)
    fold_temperature = fit_oof_temperature(oof, run.prediction)
    temperature, n_unseen, origin = fit_common_temperature(command.run_paths, run, fold_temperature, device, n_jobs)
    by_fold, calibrated = cross_fit_temperatures(oof, run.prediction)
    scores = {"before": oof.pool_scores(run.prediction), "after": calibrated}
    metrics = {when: calibration_metrics(oof, values) for when, values in scores.items()}
    clips = oof.description if len(by_fold) > 1 else f"the {oof.description} of one fold"
    fitted = {**asdict(Temperatures(temperature, fold_temperature)), "temperature_by_fold": by_fold}
    path = command.run_paths.run_dir / CALIBRATION_NAME
    fitted |= {"clips": clips, "unseen_clips": n_unseen, **metrics, "prediction": as_dict(run.prediction)}
    write_params(path, fitted)
    spread = f"without a fold {min(by_fold.values()):.3f} to {max(by_fold.values()):.3f}"
    print(f"temperature {fold_temperature:.3f} of the networks of one fold, {spread}")
    print(f"temperature {temperature:.3f} of all networks together, {origin}")
    how = "each fold at the temperature of the others" if len(by_fold) > 1 else "which the temperature was fitted on"
    print(f"{oof.description}, {how}:\n")
    print(pd.DataFrame(metrics).drop("reliability").astype(float).to_string(float_format="%.4f"))
    print(f"\n{format_bins(metrics)}")
    if metrics["after"]["log_loss"] > metrics["before"]["log_loss"]:
        print("\nthe log loss is higher at these temperatures: leave prediction.calibrate false")
    print(f"\n{path}: used where prediction.calibrate is true")


def fit_common_temperature(
    run_paths: RunPaths, run: TrainedRun, fold_temperature: float, device: torch.device, n_jobs: int
) -> tuple[float, int, str]:
    """The temperature of all networks together, 1 where it cannot be known, the number of test clips it is by, and
    where it comes from, in words. The labels of the test clips are not looked at.
    """
    if len(run.folds) == 1:
        return fold_temperature, 0, "which are the same"
    with open_store(run_paths.store, run.recipe.features) as store:
        table = read_corrected_clips(run_paths, None, store).table
        clips = table[table["split"] == "test"]
        check_test_clips(table, run)
        n_clips = int(clips["clip"].isin(store.clips).sum())
        if n_clips < MIN_UNSEEN:
            few = f"fewer than {MIN_UNSEEN} test clips say nothing of how they differ from those of one fold"
            return 1.0, 0, f"as they are: {few}"
        by_all, *by_fold = (
            list(predict_stored_clips(clips, replace(run, folds=folds), store, device, n_jobs).values())
            for folds in (run.folds, *({fold: networks} for fold, networks in run.folds.items()))
        )

    def pool(predictions: list[ClipPrediction], temperature: float) -> np.ndarray:
        return pool_predictions(predictions, run.activation, run.prediction, temperature)

    networks = [pool(predictions, 1.0) for predictions in by_fold]
    calibrated = [pool(predictions, fold_temperature) for predictions in by_fold]
    temperature = fit_blend_temperature(partial(pool, by_all), networks, calibrated, run.activation)
    if temperature is None:
        return 1.0, 0, f"as they are: no temperature makes them agree with those of one fold on {n_clips} test clips"
    return temperature, n_clips, f"by {n_clips} test clips, whose labels are not looked at"


def fit_oof_temperature(oof: OofPredictions, prediction: Prediction) -> float:
    """The temperature of some clips."""
    return fit_temperature(lambda at: oof.pool_scores(prediction, at), oof.truth, oof.activation)


def cross_fit_temperatures(oof: OofPredictions, prediction: Prediction) -> tuple[dict[int, float], np.ndarray]:
    """Temperatures fitted without each fold, or on the only one, and scores [n_clips, n_labels] of each at its own."""
    scores = oof.pool_scores(prediction)
    temperatures = {}
    for fold in np.unique(oof.folds).tolist():
        in_fold = oof.folds == fold
        temperatures[fold] = fit_oof_temperature(oof.select(in_fold if in_fold.all() else ~in_fold), prediction)
        scores[in_fold] = oof.select(in_fold).pool_scores(prediction, temperatures[fold])
    return temperatures, scores


def calibration_metrics(oof: OofPredictions, scores: np.ndarray) -> dict[str, Any]:
    """Calibration error, log loss and reliability bins of scores."""
    bins = reliability_bins(oof.truth, scores, oof.activation)
    return {
        "calibration_error": calibration_error(bins),
        "log_loss": log_loss(oof.truth, scores, oof.activation),
        "reliability": bins.to_dict("records"),
    }


def format_bins(metrics: Mapping[str, dict[str, Any]]) -> str:
    """Reliability bins as lines, before beside after."""
    bins = [pd.DataFrame(each["reliability"], columns=BIN_COLUMNS) for each in metrics.values()]
    tables = [table.set_index(["low", "high"]) for table in bins]
    joined = pd.concat(tables, axis=1, keys=metrics).sort_index()
    joined.index = [f"scores {low:.3f} - {high:.3f}" for low, high in joined.index]
    for when in metrics:
        joined[when, "count"] = joined[when, "count"].fillna(0).astype(int)
    names = {"mean_predicted": "mean", "fraction_positive": "true"}
    return joined.rename(columns=names).to_string(float_format="%.3f", na_rep="")


if __name__ == "__main__":
    run_script(main)
