r"""SCRIPT What calibration and tuned thresholds bring to test clips, which all networks of a run score together.

    python -m benchmarks.calibration --esc50 path/to/ESC-10 --fsdkaggle2019 path/to/fsdkaggle2019_mini

Of ESC-50's clips one official fold is the test; of the other set a third of the curated clips, drawn by a seed. A small
network is trained on four folds of the rest, for few epochs. What is fitted never sees the labels of the test clips.
"""

from core.entrypoint import run_script

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from benchmarks.labelled_clips import predict_labelled_clips
from benchmarks.machine import describe_machine
from core.csv_tables import write_table
from core.errors import UserError
from predict.calibrate import calibration_metrics, fit_common_temperature, fit_oof_temperature
from predict.decide.threshold_search import compute_metric, search_thresholds
from predict.inference.oof_predictions import OofPredictions
from predict.inference.run_loader import load_run
from preprocess.dataset.layouts import esc50, fsdkaggle2019
from preprocess.features import main as make_features
from recipe import Data, Prediction
from recipe.cli import Command, parse_command
from train.fit import main as train

COMMON = (
    "--data.layout csv --data.folds 4 --features.hop_length 690 --features.n_bins 64 --features.top_db 80 "
    "--training.batch_size 16 --training.metric last --training.power_mix_probability 0.5 --training.power_mix_clips 2"
)
KEYS = {
    "esc50": "--training.epochs {epochs} --training.crop_seconds 2.5 --prediction.window_seconds 2.5 "
    "--training.time_roll_probability 1 --training.label_mixing proportional",
    "fsdkaggle2019": "--training.epochs {epochs} --training.crop_seconds 1.5 --prediction.window_seconds 1.5 "
    "--training.noisy_rate 0.5",
}
"""Of a run on each set."""
METRIC: Literal["f1_macro"] = "f1_macro"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--esc50", type=str | None, help="Folder of ESC-50 or its ESC-10 part.")
    parser.add_argument("--fsdkaggle2019", type=str | None, help="Folder of a set in FSDKaggle2019's layout.")
    parser.add_argument("--splits", type=list[PositiveInt], default=[5, 3], help="Test folds, and seeds of test clips.")
    parser.add_argument("--epochs", type=PositiveInt, default=24)
    parser.add_argument("--jobs", type=PositiveInt, default=1, help="Networks trained at once.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "What calibration and thresholds bring to test clips.", add_options)
    options = command.options
    folders = {layout: options[layout] for layout in KEYS if options[layout]}
    if not folders:
        raise UserError("name a folder: --esc50 path, --fsdkaggle2019 path, or both")
    print(describe_machine(torch.device("cpu")))
    rows = []
    for layout, folder in folders.items():
        for split in options.splits:
            run = prepare_run(command, layout, Path(folder).absolute(), split)
            for row in measure(run):
                rows.append({"set": layout, "split": split} | row)
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.groupby(["set", "scores"], sort=False).mean(numeric_only=True).drop(columns="split").to_string())


def prepare_run(command: Command, layout: str, folder: Path, split: int) -> Command:
    """The command of a run on a set with test clips of known labels: its features are made, and it is trained."""
    name, options = f"calibration_{layout}_{split}_{command.options.epochs}", command.options
    cache = command.run_paths.cache
    table_path = cache / f"{name}.csv"
    clips = read_clips(layout, folder, split)
    columns = ["fname", "labels", "fold", "group", "split", "label_quality"]
    write_table(table_path, columns, clips[columns].itertuples(index=False))
    keys = f"{COMMON} {KEYS[layout].format(epochs=options.epochs)} --jobs {options.jobs}".split()
    where = ["--name", name, "--cache", str(cache), "--data.folder", str(folder), "--data.table", str(table_path)]
    make_features([*where, *keys])
    train([*where, *keys])
    run = parse_command([*where, *keys], "")
    run.options.jobs = options.jobs
    return run


def read_clips(layout: str, folder: Path, split: int) -> pd.DataFrame:
    """The columns of a table of layout `csv`, with test clips."""
    if layout == "esc50":
        clips = esc50.read(Data(layout="esc50"), folder).clips.assign(label_quality="curated")
        is_test = clips["fold"].astype(int) == split
    else:
        clips = fsdkaggle2019.read(Data(layout="fsdkaggle2019"), folder).clips
        clips = clips[clips["labels"] != ""].assign(fold="", group="").reset_index(drop=True)
        curated = np.flatnonzero(clips["label_quality"] == "curated")
        chosen = np.random.default_rng(split).permutation(curated)[: len(curated) // 3]
        is_test = pd.Series(np.isin(np.arange(len(clips)), chosen))
    paths = [Path(path).relative_to(folder).as_posix() for path in clips["path"]]
    clips = clips.assign(fname=paths, split=np.where(is_test, "test", "train"))
    return clips.assign(fold=clips["fold"].where(~is_test, ""))


def measure(command: Command) -> Iterator[dict[str, object]]:
    """Figures of the test clips by each temperature, decided at 0.5 and at thresholds tuned out of fold."""
    cpu, prediction = torch.device("cpu"), command.recipe.prediction
    run = load_run(command.run_paths.run_dir, prediction)
    oof, test = predict_labelled_clips(command, prediction, cpu).values()
    of_fold = fit_oof_temperature(oof, prediction)
    together, *_ = fit_common_temperature(command.run_paths, run, of_fold, cpu, command.options.jobs)
    pairs = {
        "as they are": (1.0, 1.0),
        "all at the temperature of one fold's networks": (of_fold, of_fold),
        "all at their own temperature": (together, of_fold),
        "all at the best temperature for the test clips": (fit_oof_temperature(test, prediction), of_fold),
    }
    for name, (temperature, fold_temperature) in pairs.items():
        scores = test.pool_scores(prediction, temperature)
        metrics = calibration_metrics(test, scores)
        errors = {key: round(float(metrics[key]), 4) for key in ("calibration_error", "log_loss")}
        decided = {"at 0.5": scores >= 0.5}
        for per_label, how in ((False, "tuned"), (True, "tuned by label")):
            decided[how] = scores >= tune(oof, fold_temperature, prediction, per_label=per_label)
        f1 = {f"F1 {how}": round(compute_metric(METRIC, test.truth, each), 4) for how, each in decided.items()}
        yield {"scores": name, "temperature": round(temperature, 3), **errors, **f1}


def tune(oof: OofPredictions, temperature: float, prediction: Prediction, *, per_label: bool) -> np.ndarray:
    """Thresholds [n_labels] of out-of-fold scores at a temperature."""
    scores = oof.pool_scores(prediction, temperature)
    return search_thresholds(scores, oof.truth, METRIC, per_label=per_label)


if __name__ == "__main__":
    run_script(main)
