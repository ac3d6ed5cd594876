"""SCRIPT make export: one folder to hand on, with weights, ONNX, recipe, labels, what was fitted, a model card."""

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jsonargparse import ArgumentParser
from safetensors.torch import save_file

from core.entrypoint import run_script
from core.errors import UserError
from core.paths import CALIBRATION_NAME, FITTED_PARAMS_NAMES, RECIPE_NAME
from predict.decide.fitted_params import read_fitted_params
from predict.decide.thresholds import read_thresholds, thresholds_filename, with_tuned_window_threshold
from predict.inference.tagger import TrainedRun, load_run
from predict.model_export.onnx import write_onnx
from predict.output.ground_truth import oof_truth, scores_in_truth_order
from preprocess.dataset.clip_table import read_clip_table
from preprocess.dataset.labels import write_vocabulary
from recipe import Prediction, as_dict
from recipe.cli import Command, parse_command
from train.evaluate.metrics import compute_metrics
from train.evaluate.score_clips import window_and_hop_frames
from train.evaluate.score_table import read_scores

ONNX_NAME, LABELS_NAME, CARD_NAME = "model.onnx", "labels.csv", "README.md"
CALIBRATION_KEYS = ("temperature", "temperature_by_fold", "clips", "before", "after")
EXPORTED_NAMES = re.compile(
    r"fold\d+(_\d+)?\.safetensors|"
    + "|".join(map(re.escape, (ONNX_NAME, LABELS_NAME, CARD_NAME, RECIPE_NAME, *FITTED_PARAMS_NAMES)))
)
"""The names of what an export holds."""
CARD_TEMPLATE = Path(__file__).parent / "model_export" / "model_card.md.j2"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str | None, help="The folder; by default submissions/<run>_model.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a run as one folder to hand on.", add_options)
    folder = Path(command.options.out or command.run_paths.submission("_model"))
    check_replaceable(folder)
    run_dir = command.run_paths.run_dir
    run = load_run(run_dir, with_tuned_window_threshold(run_dir, command.recipe.prediction))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        write_export(new, command, run)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 2**20:8.2f} MB  {path}")


def check_replaceable(folder: Path) -> None:
    """Raise UserError unless the folder is new, empty, or an earlier export and nothing else, which is replaced."""
    if not (folder.exists() or folder.is_symlink()):
        return
    ours = folder.is_dir() and not folder.is_symlink() and folder.resolve() != Path.cwd()
    if not ours or (any(folder.iterdir()) and not all((folder / name).is_file() for name in (ONNX_NAME, RECIPE_NAME))):
        raise UserError(f"--out {folder}: something else is there, and would be lost; name a new folder")
    if other := sorted(path.name for path in folder.iterdir() if not EXPORTED_NAMES.fullmatch(path.name)):
        raise UserError(f"--out {folder}: {other[0]!r} in it is no export's, and would be lost; move it elsewhere")


def write_export(folder: Path, command: Command, run: TrainedRun) -> None:
    """Everything the folder holds."""
    for fold, networks in run.folds.items():
        for number, network in enumerate(networks):
            weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            suffix = f"_{number}" if number else ""
            save_file(weights, folder / f"fold{fold}{suffix}.safetensors")
    write_onnx(folder / ONNX_NAME, run)
    recipe = as_dict(run.recipe) | {"prediction": as_dict(run.prediction)}
    (folder / RECIPE_NAME).write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    write_vocabulary(folder / LABELS_NAME, run.labels)
    run_dir = command.run_paths.run_dir
    tuned = run_dir / thresholds_filename(run.prediction)
    is_tuned = read_thresholds(run_dir, run.labels, run.prediction).source == str(tuned)
    if is_tuned:
        shutil.copy(tuned, folder)
    if (run_dir / CALIBRATION_NAME).exists():
        shutil.copy(run_dir / CALIBRATION_NAME, folder)
    (folder / CARD_NAME).write_text(write_card(command, run, is_tuned=is_tuned), encoding="utf-8")


def write_card(command: Command, run: TrainedRun, *, is_tuned: bool) -> str:
    """The model card, in Markdown; `is_tuned` says whether thresholds lie beside it."""
    run_paths = command.run_paths
    window, hop = window_and_hop_frames(run.prediction, run.frames_per_second)
    environment = Environment(
        loader=FileSystemLoader(CARD_TEMPLATE.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(CARD_TEMPLATE.name).render(
        run=run,
        name=run_paths.run,
        n_networks=sum(map(len, run.folds.values())),
        window_frames=window,
        hop_frames=hop,
        is_tuned=is_tuned,
        thresholds_name=thresholds_filename(run.prediction),
        views=views_not_exported(run.prediction),
        calibration=read_fitted_params(run_paths.run_dir / CALIBRATION_NAME, CALIBRATION_KEYS, "make calibrate"),
        command=predict_command(command),
        **describe_training(command),
    )


def views_not_exported(prediction: Prediction) -> dict[str, str]:
    """The keys by which windows are heard otherwise as well, with their values as YAML: ONNX hears each once."""
    keys = {f"prediction.{key}": value for key, value in as_dict(prediction).items() if key.startswith("view_")}
    return {key: json.dumps(value) for key, value in keys.items() if value}


def predict_command(command: Command) -> str:
    """The command by which the run answers a recording."""
    name, files = command.recipe.name, command.options.recipe
    recipe = Path(files[-1].relative).stem if files else name
    also = f' ARGS="--name {shlex.quote(name)}"' if name != recipe else ""
    return f"make predict INPUT=recording.wav RECIPE={recipe} RUN={command.run_paths.run}{also}"


def describe_training(command: Command) -> dict[str, Any]:
    """The training clips of the dataset, and the run's out-of-fold metrics where every fold is finished."""
    run_paths = command.run_paths
    table = read_clip_table(run_paths.clips_csv)
    training = table[table["split"] == "train"]
    return {
        "n_clips": len(training),
        "n_noisy": int((training["label_quality"] == "noisy").sum()),
        "n_groups": int(training["group"].nunique()),
        "n_folds": int(training["fold"].nunique()),
        "metrics": oof_metrics(command) if run_paths.oof_csv.exists() else {},
    }


def oof_metrics(command: Command) -> dict[str, float]:
    """Metrics of the out-of-fold scores on curated clips."""
    run_paths = command.run_paths
    scores = read_scores(run_paths.oof_csv)
    truth = oof_truth(run_paths.clips_csv, run_paths.oof_csv, scores)
    if truth is None:
        return {}
    return compute_metrics(torch.from_numpy(truth.values), torch.from_numpy(scores_in_truth_order(truth, scores)))


if __name__ == "__main__":
    run_script(main)
