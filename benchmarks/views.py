"""SCRIPT What each view of test-time augmentation, pooling and blend brings on a trained run's clips.

    python -m benchmarks.views --recipe recipes/esc50.yaml

Choose by out-of-fold clips: each is scored by the networks that never saw it. Test clips, where their labels are known,
say whether the choice holds.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from benchmarks.known import answer_known, measure
from core.device import pick_device
from core.entrypoint import run_script
from core.errors import BadInput
from core.resources import usable_cores
from predict.inference.dataset_clips import StoredClips
from preprocess.dataset.clip_table import read_clips
from preprocess.store.reader import open_store
from recipe import Prediction
from recipe.cli import Command, read_command
from train.runs.run_folder import best_paths


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=PositiveInt, default=usable_cores(), help="Cores to keep busy.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "What views, poolings and blends bring.", add_options)
    device = pick_device(command.options.device)
    plain = command.recipe.prediction
    print(f"{command.places.run_home}, windows of {plain.window_seconds:g} s every {plain.hop_seconds:g} s")
    base: dict[str, tuple[float, float]] = {}
    for name, changed in views(plain, copies=has_copies(command)).items():
        groups = answer_known(command, replace(plain, **changed), device)
        for clips, group in groups.items():
            figures = measure(group, plain)
            base.setdefault(clips, figures)
            print(line(clips, name, figures, base[clips]), flush=True)
            for pooling in ("mean", "max", "top_k", "power", "centre") if not changed else ():
                pooled = measure(group, replace(plain, pooling=pooling))
                print(line(clips, f"pooling {pooling}", pooled, base[clips]), flush=True)


def views(plain: Prediction, *, copies: bool) -> dict[str, dict[str, Any]]:
    """Ways to hear, by name: the keys of `prediction` in which they differ."""
    window_s, hop_s = plain.window_seconds, plain.hop_seconds
    shifts: dict[str, Any] = {"view_shifts_s": [-hop_s / 2, hop_s / 2]}
    gains: dict[str, Any] = {"view_gains_db": [-6.0, 6.0]}
    lengths: dict[str, Any] = {"view_windows_s": [round(window_s * 2 / 3, 3), round(window_s * 4 / 3, 3)]}
    ways: dict[str, dict[str, Any]] = {
        "as it is": {},
        f"shifted {hop_s / 2:g} s either way": shifts,
        "6 dB quieter and louder": gains,
        f"windows of {lengths['view_windows_s'][0]:g} s, too": {"view_windows_s": lengths["view_windows_s"][:1]},
        f"windows of {lengths['view_windows_s'][1]:g} s, too": {"view_windows_s": lengths["view_windows_s"][1:]},
        "all of these": {**shifts, **gains, **lengths},
        f"a window every {hop_s / 2:g} s": {"hop_seconds": hop_s / 2},
        "networks by geometric mean": {"blend": "geometric"},
    }
    return ways | ({"offline copies": {"view_copies": True}} if copies else {})


def has_copies(command: Command) -> bool:
    """Whether the store has offline copies of all clips. Raises BadInput where there is no trained run."""
    if not best_paths(command.places.run_home):
        raise BadInput(f"{command.places.run_home} holds no networks: run make train first")
    table = read_clips(command.places.clips_csv)
    with open_store(command.places.store) as store:
        frames = StoredClips(store, pick_device("cpu"))
        return all(frames.n_copies(clip) for clip in table["clip"] if clip in frames.rows)


def line(clips: str, name: str, figures: tuple[float, float], base: tuple[float, float]) -> str:
    """Figures, and how far they are from those of no views."""
    (ranking, precision), (of_base, its_precision) = figures, base
    gains = f"lwlrap {ranking:.4f} ({ranking - of_base:+.4f})  mAP {precision:.4f} ({precision - its_precision:+.4f})"
    return f"{clips:<24} {name:<30} {gains}"


if __name__ == "__main__":
    run_script(main)
