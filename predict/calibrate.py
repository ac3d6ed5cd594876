"""SCRIPT make calibrate: a run's temperature, fitted on its out-of-fold scores, and what it brings there."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from core.device import pick_device
from core.entrypoint import run_script
from core.errors import UserError
from core.paths import CALIBRATION_NAME
from predict.decide.calibration import ReliabilityBin, calibration_error, fit_temperature, log_loss, reliability_bins
from predict.decide.fitted_params import write_fitted_params
from predict.inference.oof_predictions import OofPredictions, predict_out_of_fold
from predict.inference.tagger import load_run
from recipe import Prediction
from recipe.cli import add_device_options, parse_command, resolve_n_jobs


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Fit a run's temperature on out-of-fold scores.", add_device_options)
    device, n_jobs = pick_device(command.options.device), resolve_n_jobs(command.options.jobs)
    prediction = replace(command.recipe.prediction, calibrate=False)
    if prediction.pooling == "vote_fraction":
        raise UserError(
            "prediction.pooling = vote_fraction: a share of windows is no probability to calibrate; use another"
        )
    run = load_run(command.run_paths.run_dir, prediction, device)
    oof = predict_out_of_fold(command.run_paths, run, device, n_jobs)
    temperature = fit_oof_temperature(oof, run.prediction)
    by_fold, after = cross_fit_temperatures(oof, run.prediction)
    before = oof.pool_scores(run.prediction)
    metrics = {name: calibration_metrics(oof, scores) for name, scores in (("before", before), ("after", after))}
    path = command.run_paths.run_dir / CALIBRATION_NAME
    description = oof.description if len(by_fold) > 1 else f"the {oof.description} of one fold"
    fitted = {"temperature": temperature, "temperature_by_fold": by_fold, "clips": description, **metrics}
    write_fitted_params(path, fitted, run.prediction)
    print(f"temperature {temperature:.3f}, without a fold {min(by_fold.values()):.3f} to {max(by_fold.values()):.3f}")
    how = "each fold at the temperature of the others" if len(by_fold) > 1 else "which the temperature was fitted on"
    print(f"{oof.description}, {how}:\n")
    print(format_table(metrics))
    if metrics["after"]["log_loss"] > metrics["before"]["log_loss"]:
        print("\nthe log loss is higher at these temperatures: leave prediction.calibrate false")
    print(f"\n{path}: used where prediction.calibrate is true")


def fit_oof_temperature(oof: OofPredictions, prediction: Prediction) -> float:
    """The temperature of some clips."""
    return fit_temperature(lambda at: oof.pool_scores(prediction, at), oof.truth, oof.activation)


def cross_fit_temperatures(oof: OofPredictions, prediction: Prediction) -> tuple[dict[int, float], np.ndarray]:
    """Temperatures fitted without each fold, and scores [n_clips, n_labels] of each fold at its own.

    Where there is but one fold, on that.
    """
    scores = oof.pool_scores(prediction)
    temperatures = {}
    for fold in np.unique(oof.folds).tolist():
        in_fold = oof.folds == fold
        temperatures[fold] = fit_oof_temperature(oof.select(~in_fold if not in_fold.all() else in_fold), prediction)
        scores[in_fold] = oof.select(in_fold).pool_scores(prediction, temperatures[fold])
    return temperatures, scores


def calibration_metrics(oof: OofPredictions, scores: np.ndarray) -> dict[str, Any]:
    """How far scores are from what they say, and their bins."""
    bins = reliability_bins(oof.truth, scores, oof.activation)
    return {
        "calibration_error": calibration_error(bins),
        "log_loss": log_loss(oof.truth, scores, oof.activation),
        "reliability": [asdict(each) for each in bins],
    }


def format_table(metrics: dict[str, dict[str, Any]]) -> str:
    """Figures and bins, before beside after."""
    lines = [f"{'':18}{'before':>24}{'after':>24}"]
    for key, name in (("calibration_error", "calibration error"), ("log_loss", "log loss")):
        lines.append(f"{name:18}" + "".join(f"{metrics[when][key]:24.4f}" for when in ("before", "after")))
    lines += ["", f"{'scores from - to':18}" + f"{'number':>8}{'mean':>8}{'true':>8}" * 2]
    bins = {when: {each["low"]: ReliabilityBin(**each) for each in metrics[when]["reliability"]} for when in metrics}
    for low in sorted(set(bins["before"]) | set(bins["after"])):
        both = [bins[when].get(low) for when in ("before", "after")]
        high = next(each.high for each in both if each)
        cells = [
            f"{one.count:8}{one.mean_predicted:8.3f}{one.fraction_positive:8.3f}" if one else " " * 24 for one in both
        ]
        lines.append(f"{f'{low:.3f} - {high:.3f}':18}" + "".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
