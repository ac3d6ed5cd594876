r"""SCRIPT Speed of prediction: windows that share one pass beside windows by themselves, and files to scores.

    python -m benchmarks.prediction
    python -m benchmarks.prediction --recipe recipes/esc50.yaml --prediction.window_seconds 3

Speed is measured with an untrained network on random frames and on recordings of noise; the contenders take turns, and
the medians of their rounds are printed. Where the recipe has a trained run, its out-of-fold clips and, if they are
labelled, its test clips are scored both ways as well.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from jsonargparse import ArgumentParser

from benchmarks.machine import describe_machine
from command import Command, read_command
from errors import run_script
from predict.journal import Journal
from predict.listener import Listener
from predict.recordings import Recording, find_recordings
from predict.stored import answer_clips, choose_held_out
from predict.tagger import Tagger, load_run
from predict.unseen import answer_recordings
from preprocess.clips import read_clips
from preprocess.coding import coding_of
from preprocess.labels import encode
from preprocess.store import open_store
from recipe import Count, Prediction, Recipe
from train.device import pick_device
from train.metrics import lwlrap, mean_average_precision
from train.networks import network_of

N_LABELS = 80
MEAN_DB, STD_DB = -50.0, 10.0
CLIP_SECONDS = 10.0


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=Count, default=os.cpu_count() or 1, help="Processes that decode.")
    parser.add_argument("--minutes", type=float, default=2.0, help="Length of the recording whose windows are timed.")
    parser.add_argument("--recordings", type=Count, default=60, help=f"Recordings of {CLIP_SECONDS:g} s in the folder.")
    parser.add_argument("--networks", type=Count, default=1, help="Networks that answer together.")
    parser.add_argument("--rounds", type=Count, default=3, help="Turns of each contender.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Speed and agreement of the ways to predict.", add_options)
    device = pick_device(command.options.device)
    tagger = untrained(command.recipe, command.options.networks, device)
    window, hop = command.recipe.prediction.window_seconds, command.recipe.prediction.hop_seconds
    print(f"{describe_machine(device)}\n{command.recipe.network.name}, windows of {window:g} s every {hop:g} s")
    time_windows(command, tagger, device)
    time_recordings(command, tagger, device)
    if list(command.places.run_home.glob("fold*/best.pt")):
        compare_scores(command, device)


def untrained(recipe: Recipe, n_networks: int, device: torch.device) -> Tagger:
    """Networks that answer at the speed of trained ones."""
    coding = coding_of(recipe.features)
    networks = []
    for seed in range(n_networks):
        torch.manual_seed(seed)
        networks.append(network_of(recipe, coding.n_bins, N_LABELS, MEAN_DB, STD_DB).to(device).eval())
    labels = [f"label {index}" for index in range(N_LABELS)]
    return Tagger(networks, labels, recipe.prediction, coding.frames_per_second, recipe.training.precision)


def race(contenders: dict[str, Callable[[], int]], device: torch.device, n_rounds: int) -> dict[str, float]:
    """Things done a second by contenders that return how many: the median of rounds, after one to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_, (name, contender) in itertools.product(range(n_rounds + 1), contenders.items()):
        started = time.perf_counter()
        count = contender()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if round_:
            rates[name].append(count / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def time_windows(command: Command, tagger: Tagger, device: torch.device) -> None:
    """Windows a second, dense and exact, of one long recording's frames."""
    n_frames = round(command.options.minutes * 60 * tagger.frames_per_second)
    generator = torch.Generator().manual_seed(0)
    shape = (n_frames, coding_of(command.recipe.features).n_bins)
    frames = (torch.randn(shape, generator=generator) * STD_DB + MEAN_DB).to(device)

    def contender(mode: str) -> Callable[[], int]:
        chosen = replace(tagger, prediction=replace(tagger.prediction, mode=mode))  # type: ignore[arg-type]
        return lambda: len(chosen.tag(frames).windows)

    rates = race({mode: contender(mode) for mode in ("exact", "dense")}, device, command.options.rounds)
    for name, rate in rates.items():
        print(f"{name:<28} {rate:9.1f} windows/s   {rate / rates['exact']:5.2f} x exact")


def time_recordings(command: Command, tagger: Tagger, device: torch.device) -> None:
    """Recordings a second: heard alone, scored alone, and both at once."""
    features, n_jobs = command.recipe.features, command.options.jobs
    with TemporaryDirectory() as folder:
        recordings = write_noise(Path(folder) / "noise", command.options.recordings, features.rate_hz)
        paths = [str(each.path) for each in recordings]
        journals = (Journal(Path(folder) / str(number)) for number in itertools.count())
        coding = coding_of(features)
        with Listener(features, n_jobs) as listener:
            blocks = [[torch.from_numpy(block) for block in hearing] for hearing in listener.listen(paths)]

        def hear() -> int:
            with Listener(features, n_jobs) as listener:
                return sum(1 for hearing in listener.listen(paths) if [len(block) for block in hearing])

        def score() -> int:
            for clip in blocks:
                tagger.tag(torch.cat(clip).to(device).float() * coding.scale + coding.offset)
            return len(blocks)

        def both() -> int:
            return len(answer_recordings(recordings, tagger, features, next(journals), device, n_jobs)[0])

        contenders = {"decoding and features alone": hear, "networks alone": score, "files to scores": both}
        rates = race(contenders, device, command.options.rounds)
    slower = min(rates["decoding and features alone"], rates["networks alone"])
    for name, rate in rates.items():
        print(f"{name:<28} {rate:9.1f} recordings of {CLIP_SECONDS:g} s/s   {rate / slower:5.2f} x the slower alone")


def write_noise(folder: Path, n_recordings: int, rate_hz: int) -> list[Recording]:
    """Recordings of noise, as Ogg Vorbis."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(n_recordings):
        sound = 0.1 * random.standard_normal(round(CLIP_SECONDS * rate_hz))
        soundfile.write(folder / f"{number:05}.ogg", sound, rate_hz)
    return find_recordings(folder)


def compare_scores(command: Command, device: torch.device) -> None:
    """What a trained run scores by the recipe's exact windows, and what each other way changes."""
    window_s, hop_s = command.recipe.prediction.window_seconds, command.recipe.prediction.hop_seconds
    ways: dict[str, dict[str, Any]] = {
        "exact": {},
        "dense": {"mode": "dense"},
        "mean of networks geometric": {"blend": "geometric"},
        "pooling max": {"pooling": "max"},
        "pooling top_k": {"pooling": "top_k"},
        "pooling power": {"pooling": "power"},
        f"views {hop_s / 2:g} s earlier, later": {"view_shifts_s": [-hop_s / 2, hop_s / 2]},
        "views 6 dB quieter, louder": {"view_gains_db": [-6.0, 6.0]},
        f"view of {window_s * 2 / 3:g} s": {"view_windows_s": [window_s * 2 / 3]},
        f"view of {window_s * 4 / 3:g} s": {"view_windows_s": [window_s * 4 / 3]},
    }
    table = read_clips(command.places.clips_csv)
    base: dict[str, tuple[float, float]] = {}
    for name, changed in ways.items():
        figures = measure(command, table, replace(command.recipe.prediction, **({"mode": "exact"} | changed)), device)
        base = base or figures
        for clips, (ranking, precision) in figures.items():
            differences = f"({ranking - base[clips][0]:+.4f})  mAP {precision:.4f} ({precision - base[clips][1]:+.4f})"
            print(f"{clips:<26} {name:<28} lwlrap {ranking:.4f} {differences}")


def measure(
    command: Command, table: pd.DataFrame, prediction: Prediction, device: torch.device
) -> dict[str, tuple[float, float]]:
    """(lwlrap, mAP) of the run's curated out-of-fold clips, and of its labelled test clips."""
    run = load_run(command.places.run_home, prediction, device)
    held_out = choose_held_out(table[table["trust"] == "curated"], run)
    test = table[(table["split"] == "test") & (table["labels"] != "")]
    found = {}
    with open_store(command.places.store, run.recipe.features) as store:
        for name, clips in ((f"{len(held_out)} out-of-fold clips", held_out), (f"{len(test)} test clips", test)):
            answers = answer_clips(clips, run, store, device)
            if answers:
                known = clips[clips["clip"].isin(answers)]
                truth = torch.from_numpy(encode(known["labels"], run.labels, clips=known["clip"]))
                scores = torch.from_numpy(np.stack([answer.scores for answer in answers.values()]))
                found[name] = (lwlrap(truth, scores), mean_average_precision(truth, scores))
    return found


if __name__ == "__main__":
    run_script(main)
