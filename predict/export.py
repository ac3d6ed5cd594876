"""SCRIPT make export: a folder to hand on, with weights, ONNX, recipe, labels, fitted parameters, a model card."""

from core.entrypoint import log_warning, run_script

import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from jinja2 import StrictUndefined, Template
from jsonargparse import ArgumentParser
from safetensors.torch import save

from core.errors import UserError
from core.files import NEW_PREFIX, replace_files
from core.paths import CALIBRATION_NAME, FITTED_PARAMS_NAMES, RECIPE_NAME, THRESHOLDS_NAME, RunPaths
from predict.decide.fitted_params import TEMPERATURE_KEYS, read_params, read_thresholds, with_window_threshold
from predict.inference.run_loader import TrainedRun, load_run
from predict.model_export.onnx import write_onnx
from predict.model_export.samples_onnx import find_sample_windows, why_no_samples, write_samples_onnx
from predict.output.ground_truth import read_oof_scores
from predict.output.provenance import warn_if_trained_otherwise
from preprocess.dataset.labels import write_vocabulary
from recipe import as_dict
from recipe.cli import Command, parse_command
from train.data.corrected_clips import CorrectedClips, read_corrected_clips
from train.evaluate.metrics import compute_metrics
from train.evaluate.windows import describe_scores, window_and_hop_frames
from train.runs.run_folder import find_corrections

ONNX_NAME, SAMPLES_ONNX_NAME = "model.onnx", "model_from_samples.onnx"
LABELS_NAME, CARD_NAME = "labels.csv", "README.md"
EXPORTED = (ONNX_NAME, SAMPLES_ONNX_NAME, LABELS_NAME, CARD_NAME, RECIPE_NAME, *FITTED_PARAMS_NAMES)
EXPORTED_NAMES = re.compile(r"fold\d+(_\d+)?\.safetensors|" + "|".join(map(re.escape, EXPORTED)))
CALIBRATION_KINDS = {
    **dict.fromkeys(TEMPERATURE_KEYS, int | float),
    "unseen_clips": int,
    "temperature_by_fold": dict,
    "clips": str,
    "before": dict,
    "after": dict,
}
"""What the model card reads of calibration.json."""
CARD_TEMPLATE = Path(__file__).parent / "model_export" / "model_card.md.j2"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str, help="The folder; by default submissions/<run>/model.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a run as one folder to hand on.", add_options)
    folder, run_dir = Path(command.options.out or command.run_paths.model_dir), command.run_paths.run_dir
    check_replaceable(folder)
    run = load_run(run_dir, with_window_threshold(run_dir, command.recipe.prediction))
    with replace_files(folder, [*list_names(folder), ONNX_NAME]) as new:
        write_export(new, command, run)
    for path in (folder / name for name in list_names(folder)):
        print(f"{path.stat().st_size / 2**20:8.2f} MB  {path}")


def list_names(folder: Path) -> list[str]:
    """What lies in a folder, sorted, but for what a command that was killed or is at work has there."""
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith(NEW_PREFIX))


def check_replaceable(folder: Path) -> None:
    """Raise UserError unless the folder is new, empty, or an earlier export and nothing else, which is replaced.

    An export that was killed while it moved its files left some of them, beside the folder that it took them from.
    """
    if not os.path.lexists(folder):
        return
    ours = folder.is_dir() and not folder.is_symlink() and folder.resolve() != Path.cwd()
    is_whole = all((folder / name).is_file() for name in (ONNX_NAME, RECIPE_NAME))
    if not ours or (list_names(folder) and not is_whole and not any(folder.glob(f"{NEW_PREFIX}*/lock"))):
        raise UserError(f"--out {folder}: it holds something else than a whole export; remove it, or name a new folder")
    if other := [name for name in list_names(folder) if not EXPORTED_NAMES.fullmatch(name)]:
        raise UserError(f"--out {folder}: {other[0]!r} in it is no file of an export; move it elsewhere")


def write_export(folder: Path, command: Command, run: TrainedRun) -> None:
    """Write all files of an export."""
    recipe = as_dict(run.recipe) | {"prediction": as_dict(run.prediction)}
    (folder / RECIPE_NAME).write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True), encoding="utf-8")
    write_vocabulary(folder / LABELS_NAME, run.labels)
    fitted, calibration = (command.run_paths.run_dir / name for name in (THRESHOLDS_NAME, CALIBRATION_NAME))
    is_fitted = read_thresholds(fitted.parent, run.labels, run.prediction).is_fitted
    if is_fitted:
        shutil.copy(fitted, folder)
    if calibration.exists():
        shutil.copy(calibration, folder)
    (folder / CARD_NAME).write_text(write_card(command, run, is_fitted=is_fitted), encoding="utf-8")
    for fold, networks in run.folds.items():
        for number, network in enumerate(networks):
            weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            # save_file raises no OSError where the disk is full.
            (folder / f"fold{fold}{f'_{number}' if number else ''}.safetensors").write_bytes(save(weights))
    write_onnx(folder / ONNX_NAME, run)
    if not (reason := why_no_samples(run.recipe.features)):
        write_samples_onnx(folder / SAMPLES_ONNX_NAME, run)
    else:
        log_warning(f"{SAMPLES_ONNX_NAME} is left out: {reason}")


def write_card(command: Command, run: TrainedRun, *, is_fitted: bool) -> str:
    """The model card, in Markdown; `is_fitted` says whether thresholds lie beside it."""
    run_paths = command.run_paths
    clips = read_corrected_clips(run_paths, find_corrections(run_paths, command.recipe))
    has_metrics = not warn_if_trained_otherwise(command) and run_paths.oof_csv.exists()
    window, hop = window_and_hop_frames(run.prediction, run.frames_per_second)
    views = {key: value for key, value in as_dict(run.prediction).items() if key.startswith("view_") and value}
    text = CARD_TEMPLATE.read_text(encoding="utf-8")
    return Template(text, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).render(
        run=run,
        name=run_paths.run,
        window_frames=window,
        hop_frames=hop,
        sample_windows=find_sample_windows(run),
        why_no_samples=why_no_samples(run.recipe.features),
        is_fitted=is_fitted,
        scores=describe_scores(run.prediction),
        views={f"prediction.{key}": json.dumps(value) for key, value in views.items()},
        calibration=read_params(run_paths.run_dir / CALIBRATION_NAME, CALIBRATION_KINDS, "make calibrate"),
        command=predict_command(command),
        training=clips.table[clips.table["split"] == "train"],
        metrics=oof_metrics(run_paths, clips) if has_metrics else {},
    )


def predict_command(command: Command) -> str:
    """The command that predicts a recording with the run."""
    name, files = command.recipe.name, command.options.recipe
    recipe = Path(files[-1].relative).stem if files else name
    also = f' ARGS="--name {shlex.quote(name)}"' if name != recipe else ""
    return f"make predict INPUT=recording.wav RECIPE={recipe} RUN={command.run_paths.run}{also}"


def oof_metrics(run_paths: RunPaths, clips: CorrectedClips) -> dict[str, float]:
    """Metrics of the out-of-fold scores on curated clips; none, and a warning, where they are of other clips."""
    try:
        scores, truth = read_oof_scores(run_paths, clips)
    except UserError as error:
        log_warning(f"the model card has no scores: {error}")
        return {}
    return compute_metrics(torch.from_numpy(truth), torch.from_numpy(scores.values)) if scores.clips else {}


if __name__ == "__main__":
    run_script(main)
