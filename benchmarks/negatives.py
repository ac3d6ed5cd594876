"""SCRIPT What negatives bring: false positives an hour on sounds of no label, with and without such clips in training.

    python -m benchmarks.negatives --data path/to/ESC-50-master --seeds [0,1,2]

Two classes of ESC-50's ten free ones are made background: their clips have none of the other labels. A small network a
fold is trained with these clips as negatives, and without them. A clip is scored by the network that saw none of its
fold; the threshold of a fold's clips is tuned on the other folds' out-of-fold scores (micro F1), of the clips that the
networks are trained on. A run that is finished is not trained again.
"""

from core.entrypoint import run_script

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from benchmarks.machine import describe_machine
from core.csv_tables import read_table, write_table
from core.errors import UserError
from core.paths import RunPaths
from predict.decide.threshold_search import compute_metric, search_thresholds
from predict.inference.dataset_clips import predict_stored_clips
from predict.inference.run_loader import load_run
from preprocess.dataset.clip_table import read_clip_table
from preprocess.dataset.labels import NEGATIVE, to_multi_hot
from preprocess.features import main as make_features
from preprocess.store.reader import open_store
from recipe import Prediction
from recipe.cli import parse_command, parse_own_options
from train.fit import main as train

SMALL = (
    "--name negatives --data.layout csv --features.hop_length 1380 --network.modulation_units 0 "
    "--training.batch_size 16 --training.crop_seconds 2.5 --training.ema_decay 0 "
    "--features.pitch_shifts [] --features.time_stretches []"
)
CLIP_HOURS = 5 / 3600


class NegativesMetrics(NamedTuple):
    """Of one seed's networks."""

    false_positives_per_hour: float
    """Labels given to background clips, an hour of them."""
    clips_with_false_positives: float
    """Share of the background clips."""
    f1_micro: float
    """Of the labelled clips."""
    recall: float
    """Of the labelled clips."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    folder = Path(options.cache) / "negatives_tables"
    table, dropped = write_tables(Path(options.data), set(options.background), folder)
    common = ["--recipe", "recipes/esc50.yaml", *SMALL.split(), "--cache", options.cache]
    common += ["--data.folder", str(Path(options.data) / "audio"), "--data.table", str(table)]
    command = parse_command(common, "")
    run_paths = command.run_paths
    print(describe_machine(torch.device("cpu")))
    make_features([*common, "--jobs", str(options.jobs)])
    settings = {"without negatives": ["--training.corrections", str(dropped)], "with negatives": []}
    for name, keys in settings.items():
        by_seed = []
        for seed in options.seeds:
            run = f"{name.replace(' ', '_')}_{options.epochs}epochs_seed{seed}"
            length = ["--training.epochs", str(options.epochs), "--training.seed", str(seed)]
            if not (run_paths.dataset_dir / "runs" / run / "oof.csv").exists():
                train([*common, *keys, *length, "--run", run, "--jobs", str(options.jobs)])
            by_seed.append(score(run_paths, run, command.recipe.prediction, tuned_on_background=not keys))
            print(f"{name}, seed {seed}: {format_metrics(by_seed[-1:])}", flush=True)
        print(f"{name}, {len(by_seed)} seeds: {format_metrics(by_seed)}", flush=True)


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What negatives bring.", exit_on_error=False)
    parser.add_argument("--data", type=str, required=True, help="ESC-50's folder, or its ESC-10 part.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--background", type=list[str], default=["rain", "clock_tick"], help="Classes of no label.")
    parser.add_argument("--epochs", type=PositiveInt, default=15, help="Of each network.")
    parser.add_argument("--seeds", type=list[NonNegativeInt], default=[0, 1, 2], help="Of the networks.")
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    return parse_own_options(parser, arguments)


def write_tables(data: Path, background: set[str], folder: Path) -> tuple[Path, Path]:
    """The table of the ten free classes with `background` as negatives, and corrections that drop these."""
    esc50 = read_table(data / "meta" / "esc50.csv", ["filename", "fold", "category", "esc10", "src_file"])
    esc10 = esc50[esc50["esc10"] == "True"]
    if unknown := background - set(esc10["category"]):
        raise UserError(f"--background {sorted(unknown)[0]}: no such class among {sorted(set(esc10['category']))}")
    is_background = esc10["category"].isin(background)
    labels = esc10["category"].where(~is_background, NEGATIVE)
    columns = zip(esc10["filename"], labels, esc10["fold"], esc10["src_file"], strict=True)
    write_table(folder / "labels.csv", ["fname", "labels", "fold", "group"], columns)
    dropped = [(name, "drop") for name in esc10.loc[is_background, "filename"]]
    write_table(folder / "dropped.csv", ["clip", "labels"], dropped)
    return folder / "labels.csv", folder / "dropped.csv"


def score(run_paths: RunPaths, run_name: str, prediction: Prediction, *, tuned_on_background: bool) -> NegativesMetrics:
    """A run's metrics on all clips, each scored and decided without its fold."""
    table = read_clip_table(run_paths.clips_csv)
    run = load_run(run_paths.dataset_dir / "runs" / run_name, prediction)
    with open_store(run_paths.store, run.recipe.features) as store:
        predictions = predict_stored_clips(table, run, store, torch.device("cpu"))
    scores = np.stack([predictions[clip].scores for clip in table["clip"]])
    truth, folds = to_multi_hot(table["labels"], run.labels), table["fold"].to_numpy()
    labelled = truth.any(1)
    decisions = np.zeros(truth.shape, bool)
    for fold in np.unique(folds):
        others = (folds != fold) & (labelled | tuned_on_background)
        thresholds = search_thresholds(scores[others], truth[others], "f1_micro", per_label=False)
        decisions[folds == fold] = scores[folds == fold] >= thresholds
    false = decisions[~labelled]
    return NegativesMetrics(
        float(false.sum() / (len(false) * CLIP_HOURS)),
        float(false.any(1).mean()),
        compute_metric("f1_micro", truth[labelled], decisions[labelled]),
        float(decisions[labelled][truth[labelled] > 0].mean()),
    )


def format_metrics(by_seed: Sequence[NegativesMetrics]) -> str:
    """The mean of each figure over seeds, with the lowest and the highest."""
    parts = []
    for name, values in zip(NegativesMetrics._fields, zip(*by_seed, strict=True), strict=True):
        spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        parts.append(f"{name} {statistics.mean(values):.3f}{spread}")
    return ", ".join(parts)


if __name__ == "__main__":
    run_script(main)
