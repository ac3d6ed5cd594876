"""SCRIPT Speed of prediction: windows that share one pass beside windows by themselves, and files to CSVs.

    python -m benchmarks.prediction
    python -m benchmarks.prediction --recipe recipes/esc50.yaml --only scores

Speed is measured with an untrained network on random frames and on recordings of noise; the contenders take turns, and
the medians of their rounds are printed. Where the recipe has a trained run, its out-of-fold clips and, if they are
labelled, its test clips are scored both ways as well.
"""

from core.entrypoint import run_script

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveFloat, PositiveInt

from benchmarks.labelled_clips import compute_ranking_metrics, predict_labelled_clips
from benchmarks.machine import describe_machine
from benchmarks.random_store import MEAN_DB, STD_DB
from core.device import pick_device
from core.parallel import run_parallel
from core.resources import available_cores
from core.sandbox import cancel_sandboxes
from predict.inference.dataset_clips import dequantise, score_side_by_side
from predict.inference.recordings import find_input_files, predict_files
from predict.inference.run_loader import fuse_conv_bn
from predict.inference.tagger import Tagger
from predict.output.submission import write_submission, write_windows
from preprocess.audio.isolated import decoder_limits, read_isolated
from preprocess.build.frame_stream import RecordingEnd, stream_frames
from preprocess.store.encoding import encoding_for
from preprocess.store.schema import EncodedFrames
from recipe import Recipe
from recipe.cli import Command, parse_command
from train.evaluate.score_table import ScoreTable
from train.evaluate.window_scorer import WindowScorer
from train.networks.factory import build_network_from_recipe
from train.runs.run_folder import find_best_checkpoints

N_LABELS = 80
CLIP_SECONDS = 10.0
WINDOW_S, HOP_S = 3.0, 1.0
BENCHMARKS = ("windows", "files", "scores")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--only", type=str, default=",".join(BENCHMARKS), help=f"Some of {', '.join(BENCHMARKS)}.")
    parser.add_argument("--jobs", type=PositiveInt, default=available_cores(), help="Cores to keep busy.")
    parser.add_argument("--minutes", type=PositiveFloat, default=2.0, help="Length of the recording of windows.")
    parser.add_argument(
        "--recordings", type=PositiveInt, default=300, help=f"Recordings of {CLIP_SECONDS:g} s in the folder."
    )
    parser.add_argument("--networks", type=PositiveInt, default=1, help="Networks that are blended.")
    parser.add_argument("--rounds", type=PositiveInt, default=3, help="Turns of each contender.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Speed and agreement of the ways to predict.", add_options)
    device, selected = pick_device(command.options.device), command.options.only.split(",")
    tagger = make_untrained_tagger(command.recipe, command.options.networks, device)
    window, hop = command.recipe.prediction.window_seconds, command.recipe.prediction.hop_seconds
    print(f"{describe_machine(device)}\n{command.recipe.network.name}, windows of {window:g} s every {hop:g} s")
    if "windows" in selected:
        rates = time_windows(tagger, command.recipe, device, command.options.minutes, command.options.rounds)
        for name, rate in rates.items():
            print(f"{name:<28} {rate:9.1f} windows/s   {rate / rates['exact']:5.2f} x exact")
    if "files" in selected:
        time_recordings(command, tagger, device)
    if "scores" in selected and find_best_checkpoints(command.run_paths.run_dir):
        compare_scores(command, device)


def make_untrained_tagger(recipe: Recipe, n_networks: int, device: torch.device) -> Tagger:
    """Networks that answer at the speed of trained ones."""
    encoding = encoding_for(recipe.features)
    networks = []
    for seed in range(n_networks):
        torch.manual_seed(seed)
        networks.append(
            fuse_conv_bn(
                build_network_from_recipe(recipe, encoding.n_bins, N_LABELS, MEAN_DB, STD_DB).to(device).eval()
            )
        )
    labels = [f"label {index}" for index in range(N_LABELS)]
    scorer = WindowScorer(networks, recipe.prediction, encoding.frames_per_second, recipe.training.precision)
    return Tagger(scorer, labels)


def measure_rates(contenders: Mapping[str, Callable[[], int]], device: torch.device, n_rounds: int) -> dict[str, float]:
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


def time_windows(
    tagger: Tagger, recipe: Recipe, device: torch.device, minutes: float, n_rounds: int
) -> dict[str, float]:
    """Windows a second, exact and dense, of one long recording's frames."""
    n_frames = round(minutes * 60 * tagger.scorer.frames_per_second)
    generator = torch.Generator().manual_seed(0)
    shape = (n_frames, encoding_for(recipe.features).n_bins)
    frames = (torch.randn(shape, generator=generator) * STD_DB + MEAN_DB).to(device)

    def contender(mode: str) -> Callable[[], int]:
        prediction = replace(tagger.scorer.prediction, mode=mode)  # type: ignore[arg-type]
        chosen = replace(tagger, scorer=replace(tagger.scorer, prediction=prediction))
        return lambda: len(next(chosen.scorer.score_clips([[frames]])).scores)

    return measure_rates({mode: contender(mode) for mode in ("exact", "dense")}, device, n_rounds)


def time_recordings(command: Command, tagger: Tagger, device: torch.device) -> None:
    """Recordings a second, from files to CSVs: decoding only, scoring only, and both at once.

    Both at once share all the cores. Beside it stand each alone on its share of them, in whole cores, that makes the
    slower of the two the fastest; and both in turn, each on all cores.
    """
    features, n_jobs = command.recipe.features, command.options.jobs
    encoding, limits = encoding_for(features), decoder_limits(command.recipe.data)

    def decode_one(path: Path) -> EncodedFrames:
        blocks = read_isolated(stream_frames, str(path), features, limits=limits)
        return np.concatenate([block for block in blocks if not isinstance(block, RecordingEnd)])

    with TemporaryDirectory() as folder:
        recordings = write_noise(Path(folder) / "noise", command.options.recordings, features.sample_rate_hz)
        stored = list(run_parallel(decode_one, recordings.values(), n_jobs))
        cache_dirs = (Path(folder) / str(number) for number in itertools.count())

        def decode(n_cores: int) -> int:
            with limit_cores(n_cores):
                return sum(1 for frames in run_parallel(decode_one, recordings.values(), n_cores) if len(frames))

        def read(number: int) -> torch.Tensor:
            return dequantise(stored[number], encoding.scale, encoding.offset, device)

        def score(n_cores: int) -> int:
            with limit_cores(n_cores):
                return len(list(score_side_by_side(tagger.scorer, range(len(stored)), read, device, n_cores)))

        def predict_to_csv(n_cores: int) -> int:
            with limit_cores(n_cores):
                clip_predictions, _, _ = predict_files(
                    recordings, tagger, features, next(cache_dirs), Path(folder), limits, device, n_cores
                )
            values = np.stack([prediction.scores for prediction in clip_predictions.values()])
            write_submission(
                Path(folder) / "scores.csv", ScoreTable(list(clip_predictions), tagger.labels, values), None
            )
            write_windows(Path(folder) / "windows.csv", clip_predictions, tagger.labels)
            return len(clip_predictions)

        alone = measure_rates({"decode": partial(decode, n_jobs), "score": partial(score, n_jobs)}, device, 1)
        n_decoding_cores = split_cores(n_jobs, alone["decode"], alone["score"]) if device.type == "cpu" else n_jobs
        n_scoring_cores = max(n_jobs - n_decoding_cores, 1)
        contenders = {
            f"decoding and features, {n_decoding_cores} of {n_jobs} cores": partial(decode, n_decoding_cores),
            f"networks, {n_scoring_cores} of {n_jobs} cores": partial(score, n_scoring_cores),
            f"decoding and features, {n_jobs} cores": partial(decode, n_jobs),
            f"networks, {n_jobs} cores": partial(score, n_jobs),
            f"files to CSVs, {n_jobs} cores": partial(predict_to_csv, n_jobs),
        }
        rates = measure_rates(contenders, device, command.options.rounds)
    for name, rate in rates.items():
        print(f"{name:<38} {rate:8.1f} recordings of {CLIP_SECONDS:g} s/s")
    one, other, all_one, all_other, together = rates.values()
    in_turn = 1 / (1 / all_one + 1 / all_other)
    print(f"files to CSVs: {together / min(one, other):.2f} x the slower alone on its share of the cores")
    print(f"files to CSVs: {together / in_turn:.2f} x both in turn on all cores ({in_turn:.1f}/s)")


@contextmanager
def limit_cores(n_cores: int) -> Iterator[None]:
    """This thread, and the threads and processes it starts, on so many cores and no other, where the system can."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with cancel_sandboxes():  # those that idle keep to the cores of before
        pass
    if allowed:
        os.sched_setaffinity(0, sorted(allowed)[:n_cores])
    try:
        yield
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)


def split_cores(n_cores: int, decode_rate: float, score_rate: float) -> int:
    """Of `n_cores`, those that decode, where the slower of the two stages is the fastest; rates are on all cores."""
    return max(range(1, max(n_cores, 2)), key=lambda n: min(decode_rate * n, score_rate * (n_cores - n)))


def write_noise(folder: Path, n_recordings: int, sample_rate_hz: int) -> dict[str, Path]:
    """Recordings of noise, as Ogg Vorbis."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(n_recordings):
        sound = 0.1 * random.standard_normal(round(CLIP_SECONDS * sample_rate_hz))
        soundfile.write(folder / f"{number:05}.ogg", sound, sample_rate_hz)
    return find_input_files(folder)


def compare_scores(command: Command, device: torch.device) -> None:
    """What a trained run's clips score by windows that share one pass, beside windows by themselves."""
    exact = replace(command.recipe.prediction, window_seconds=WINDOW_S, hop_seconds=HOP_S, mode="exact")
    metrics = {}
    for mode in ("exact", "dense"):
        prediction = replace(exact, mode=mode)
        groups = predict_labelled_clips(command, prediction, device)
        metrics[mode] = {clips: compute_ranking_metrics(group, prediction) for clips, group in groups.items()}
    for clips, (ranking, precision) in metrics["exact"].items():
        dense = metrics["dense"][clips]
        print(
            f"{clips}, windows of {WINDOW_S:g} s every {HOP_S:g} s: "
            f"exact lwlrap {ranking:.4f}, mAP {precision:.4f}; "
            f"dense {dense[0]:.4f} ({dense[0] - ranking:+.4f}), {dense[1]:.4f} ({dense[1] - precision:+.4f})"
        )


if __name__ == "__main__":
    run_script(main)
