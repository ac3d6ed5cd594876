"""SCRIPT What each view of test-time augmentation, pooling and blend brings on a trained run's clips.

    python -m benchmarks.tta --recipe recipes/esc50.yaml

Choose by out-of-fold clips: each is scored by the networks that never saw it. Test clips, where their labels are known,
say whether the choice holds.
"""

from core.entrypoint import run_script

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from benchmarks.labelled_clips import compute_ranking_metrics, predict_labelled_clips
from core.device import pick_device
from core.errors import UserError
from core.resources import available_cores
from recipe import Prediction
from recipe.cli import parse_command
from train.runs.run_folder import find_best_checkpoints


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=PositiveInt, default=available_cores(), help="Cores to keep busy.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "What views, poolings and blends bring.", add_options)
    device = pick_device(command.options.device)
    base_prediction = command.recipe.prediction
    window_s, hop_s = base_prediction.window_seconds, base_prediction.hop_seconds
    print(f"{command.run_paths.run_dir}, windows of {window_s:g} s every {hop_s:g} s")
    base: dict[str, tuple[float, float]] = {}
    if not find_best_checkpoints(command.run_paths.run_dir):
        raise UserError(f"{command.run_paths.run_dir} holds no networks: run make train first")
    for name, changed in tta_variants(base_prediction).items():
        groups = predict_labelled_clips(command, replace(base_prediction, **changed), device)
        for clips, group in groups.items():
            metrics = compute_ranking_metrics(group, base_prediction)
            base.setdefault(clips, metrics)
            print(format_row(clips, name, metrics, base[clips]), flush=True)
            for pooling in ("mean", "max", "center") if not changed else ():
                pooled = compute_ranking_metrics(group, replace(base_prediction, pooling=pooling))
                print(format_row(clips, f"pooling {pooling}", pooled, base[clips]), flush=True)


def tta_variants(base_prediction: Prediction) -> dict[str, dict[str, Any]]:
    """Ways to predict, by name: the keys of `prediction` in which they differ."""
    hop_s = base_prediction.hop_seconds
    shifts: dict[str, Any] = {"view_shifts_s": [-hop_s / 2, hop_s / 2]}
    gains: dict[str, Any] = {"view_gains_db": [-6.0, 6.0]}
    return {
        "as it is": {},
        f"shifted {hop_s / 2:g} s either way": shifts,
        "6 dB quieter and louder": gains,
        "both": {**shifts, **gains},
        f"a window every {hop_s / 2:g} s": {"hop_seconds": hop_s / 2},
        "networks by geometric mean": {"blend": "geometric"},
    }


def format_row(clips: str, name: str, metrics: tuple[float, float], base: tuple[float, float]) -> str:
    """Figures, and how far they are from those of no views."""
    (ranking, precision), (of_base, its_precision) = metrics, base
    gains = f"lwlrap {ranking:.4f} ({ranking - of_base:+.4f})  mAP {precision:.4f} ({precision - its_precision:+.4f})"
    return f"{clips:<24} {name:<30} {gains}"


if __name__ == "__main__":
    run_script(main)
