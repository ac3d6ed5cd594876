"""SCRIPT make calibrate: a run's temperature, fitted on its out-of-fold scores, and what it brings there."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from core.device import pick_device
from core.entrypoint import run_script
from core.errors import BadInput
from core.paths import CALIBRATION_NAME
from predict.decide.calibration import Bin, calibration_error, fit_temperature, log_loss, reliability
from predict.decide.fitted_params import write_fitted
from predict.inference.oof_predictions import HeldOut, answer_held_out
from predict.inference.tagger import load_run
from recipe import Prediction
from recipe.cli import add_machine_options, count_jobs, read_command


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Fit a run's temperature on out-of-fold scores.", add_machine_options)
    device, n_jobs = pick_device(command.options.device), count_jobs(command.options.jobs)
    prediction = replace(command.recipe.prediction, calibrate=False)
    if prediction.pooling == "share":
        raise BadInput("prediction.pooling = share: a share of windows is no probability to calibrate; use another")
    run = load_run(command.places.run_home, prediction, device)
    held_out = answer_held_out(command.places, run, device, n_jobs)
    temperature = fit(held_out, run.prediction)
    by_fold, after = calibrate_across(held_out, run.prediction)
    before = held_out.pooled(run.prediction)
    figures = {name: describe(held_out, scores) for name, scores in (("before", before), ("after", after))}
    path = command.places.run_home / CALIBRATION_NAME
    what = held_out.what if len(by_fold) > 1 else f"the {held_out.what} of one fold"
    fitted = {"temperature": temperature, "temperature_by_fold": by_fold, "clips": what, **figures}
    write_fitted(path, fitted, run.prediction)
    print(f"temperature {temperature:.3f}, without a fold {min(by_fold.values()):.3f} to {max(by_fold.values()):.3f}")
    how = "each fold at the temperature of the others" if len(by_fold) > 1 else "which the temperature was fitted on"
    print(f"{held_out.what}, {how}:\n")
    print(table(figures))
    if figures["after"]["log_loss"] > figures["before"]["log_loss"]:
        print("\nthe log loss is higher at these temperatures: leave prediction.calibrate false")
    print(f"\n{path}: used where prediction.calibrate is true")


def fit(held_out: HeldOut, prediction: Prediction) -> float:
    """The temperature of some clips."""
    return fit_temperature(lambda at: held_out.pooled(prediction, at), held_out.truth, held_out.activation)


def calibrate_across(held_out: HeldOut, prediction: Prediction) -> tuple[dict[int, float], np.ndarray]:
    """Temperatures fitted without each fold, and scores [n_clips, n_labels] of each fold at its own.

    Where there is but one fold, on that.
    """
    scores = held_out.pooled(prediction)
    temperatures = {}
    for fold in np.unique(held_out.folds).tolist():
        here = held_out.folds == fold
        temperatures[fold] = fit(held_out.part(~here if not here.all() else here), prediction)
        scores[here] = held_out.part(here).pooled(prediction, temperatures[fold])
    return temperatures, scores


def describe(held_out: HeldOut, scores: np.ndarray) -> dict[str, Any]:
    """How far scores are from what they say, and their bins."""
    bins = reliability(held_out.truth, scores, held_out.activation)
    return {
        "calibration_error": calibration_error(bins),
        "log_loss": log_loss(held_out.truth, scores, held_out.activation),
        "reliability": [asdict(each) for each in bins],
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """Figures and bins, before beside after."""
    lines = [f"{'':18}{'before':>24}{'after':>24}"]
    for key, name in (("calibration_error", "calibration error"), ("log_loss", "log loss")):
        lines.append(f"{name:18}" + "".join(f"{figures[when][key]:24.4f}" for when in ("before", "after")))
    lines += ["", f"{'scores from - to':18}" + f"{'number':>8}{'mean':>8}{'true':>8}" * 2]
    bins = {when: {each["low"]: Bin(**each) for each in figures[when]["reliability"]} for when in figures}
    for low in sorted(set(bins["before"]) | set(bins["after"])):
        both = [bins[when].get(low) for when in ("before", "after")]
        high = next(each.high for each in both if each)
        cells = [f"{one.count:8}{one.mean_score:8.3f}{one.share_true:8.3f}" if one else " " * 24 for one in both]
        lines.append(f"{f'{low:.3f} - {high:.3f}':18}" + "".join(cells).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
