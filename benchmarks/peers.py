"""SCRIPT Other systems beside this one: out-of-fold accuracy on ESC-10 in the same minutes on the same machine.

    python -m benchmarks.peers --data path/to/ESC-50-master                 # as long as recipe esc50 takes here
    python -m benchmarks.peers --data path/to/ESC-50-master --epochs 1      # does everything run?

Peers get an environment of their own in `cache/peers/venv`, which sees this project's packages, and train with their
defaults, one network a fold. One epoch and three of the first fold are timed; then as many epochs as fit in a fifth of
the minutes. What a peer scores is the last epoch, but for autrainer, which keeps the best epoch by a fold taken from
its training clips.
"""

from core.entrypoint import get_logger, run_script

import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from benchmarks.config import ROOT
from benchmarks.machine import describe_machine
from benchmarks.timing import min_time
from core.csv_tables import read_table
from preprocess.features import main as make_features
from recipe.cli import parse_command, parse_own_options
from train.evaluate.metrics import accuracy
from train.evaluate.score_table import read_scores
from train.fit import main as train

PACKAGES = {"torchvision_resnet18": [], "fastai_resnet18": ["fastai"], "autrainer_cnn10": ["autrainer"]}
"""What pip installs for each peer."""
FOLDS = (1, 2, 3, 4, 5)
AUTRAINER = {
    "id": "esc10",
    "_target_": "autrainer.datasets.BaseClassificationDataset",
    "features_subdir": "log_mel_32k",
    "index_column": "filename",
    "target_column": "category",
    "file_type": "npy",
    "file_handler": "autrainer.datasets.utils.NumpyFileHandler",
    "criterion": "autrainer.criterions.BalancedCrossEntropyLoss",
    "metrics": ["autrainer.metrics.Accuracy"],
    "tracking_metric": "autrainer.metrics.Accuracy",
    "transform": {
        "type": "grayscale",
        "base": [{"autrainer.transforms.RandomCrop": {"size": 501, "axis": -2}}],  # 5 s, padded where a clip is shorter
    },
}
"""Its configuration of the dataset, as those that it brings for others."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    print(describe_machine(torch.device("cpu")))
    minutes = options.minutes
    if minutes is None:
        score, minutes = run_ours(options)
        print(f"recipe esc50: accuracy {score:.4f}, {minutes:.1f} minutes, out of {len(FOLDS)} folds", flush=True)
    python = make_environment(Path(options.cache) / "peers" / "venv", options.peers)
    for peer in options.peers:
        try:
            print(f"{peer}: {run_peer(peer, python, options, 60 * minutes / len(FOLDS))}", flush=True)
        except subprocess.CalledProcessError as error:
            last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
            get_logger().warning(f"{peer} is left out: {' '.join(last)}")


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="Other systems beside this one.", exit_on_error=False)
    parser.add_argument("--data", type=str, required=True, help="ESC-50's folder, or its ESC-10 part.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores, runs and environments.")
    parser.add_argument("--peers", nargs="*", choices=list(PACKAGES), default=list(PACKAGES), help="Some of them.")
    parser.add_argument("--minutes", type=float | None, help="Of all folds together; by default what esc50 takes here.")
    parser.add_argument("--epochs", type=PositiveInt | None, help="Instead of as many as fit in the minutes.")
    return parse_own_options(parser, arguments)


def run_ours(options: Namespace) -> tuple[float, float]:
    """Out-of-fold accuracy of recipe esc50, and the minutes of its features and its training."""
    common = [
        "--recipe",
        "recipes/esc50.yaml",
        "--name",
        "peers",
        "--cache",
        options.cache,
        "--data.folder",
        options.data,
    ]
    common += ["--training.epochs", str(options.epochs)] if options.epochs else []
    run_paths, started = parse_command(common, "").run_paths, time.perf_counter()
    make_features(common)
    train([*common, "--jobs", "-1", "--restart"])
    minutes = (time.perf_counter() - started) / 60
    scores = read_scores(run_paths.oof_csv)
    labels = read_table(run_paths.clips_csv, ["clip", "labels"]).set_index("clip")["labels"]
    truth = [[label == labels[clip] for label in scores.labels] for clip in scores.clips]
    return accuracy(torch.tensor(truth).float(), torch.from_numpy(scores.values)), minutes


def make_environment(folder: Path, peers: Sequence[str]) -> Path:
    """The Python of an environment with the peers' packages; those of this one are seen from it."""
    python = folder.resolve() / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    (own,) = {path for path in sys.path if path.endswith("site-packages")}
    (site_packages,) = folder.glob("lib/*/site-packages")
    (site_packages / "this_project.pth").write_text(own, encoding="utf-8")
    for package in [package for peer in peers for package in PACKAGES[peer]]:
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", package], capture_output=True, text=True)
        if installed.returncode:
            get_logger().warning(f"{package} cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    return python


def run_peer(peer: str, python: Path, options: Namespace, seconds: float) -> str:
    """A peer's out-of-fold accuracy on all folds, its epochs and its minutes, in words."""
    run_fold = partial(
        run_autrainer if peer == "autrainer_cnn10" else run_program,
        peer,
        python,
        options,
        Path(options.cache).resolve() / "peers",
    )
    if options.epochs:
        epochs = int(options.epochs)  # yaml writes no PositiveInt
    else:
        run_fold(FOLDS[0], 1)  # computes its pictures or features
        one_s, three_s = (min_time(partial(run_fold, FOLDS[0], n_epochs), 1) for n_epochs in (1, 3))
        epochs = max(1, 1 + int((seconds - one_s) / (three_s - one_s) * 2))
    started = time.perf_counter()
    accuracies = [run_fold(fold, epochs) for fold in FOLDS]
    minutes = (time.perf_counter() - started) / 60
    by_fold = ", ".join(f"{value:.3f}" for value in accuracies)
    return f"accuracy {statistics.mean(accuracies):.4f} ({by_fold}), {epochs} epochs a fold, {minutes:.1f} minutes"


def run_program(peer: str, python: Path, options: Namespace, folder: Path, fold: int, epochs: int) -> float:
    """Accuracy on a fold of a program of benchmarks/peer_programs, which prints it last."""
    command = [str(python), "-m", f"benchmarks.peer_programs.{peer}", "--data", str(Path(options.data).resolve())]
    command += ["--pictures", str(folder / "pictures"), "--fold", str(fold), "--epochs", str(epochs)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return float(printed.strip().splitlines()[-1])


def run_autrainer(peer: str, python: Path, options: Namespace, folder: Path, fold: int, epochs: int) -> float:
    """Accuracy on a fold of autrainer's Cnn10 at its best epoch by the next fold."""
    work, data = folder / "autrainer", Path(options.data).resolve()
    table, validation = pd.read_csv(data / "meta" / "esc50.csv"), fold % len(FOLDS) + 1
    parts = {"train": ~table["fold"].isin([fold, validation]), "dev": table["fold"] == validation}
    parts |= {"test": table["fold"] == fold}
    dataset = work / "data"  # the same for all folds, so that their features are computed once
    dataset.mkdir(parents=True, exist_ok=True)
    if not (dataset / "default").exists():
        (dataset / "default").symlink_to(data / "audio", target_is_directory=True)
    for name, rows in parts.items():
        table.loc[rows & table["esc10"], ["filename", "category"]].to_csv(dataset / f"{name}.csv", index=False)
    (work / "conf" / "dataset").mkdir(parents=True, exist_ok=True)
    configuration = AUTRAINER | {"path": str(dataset)}
    (work / "conf" / "dataset" / "esc10.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    sweep = {"+seed": 1, "+batch_size": 32, "+learning_rate": 0.001, "dataset": "esc10"}
    sweep |= {"model": "Cnn10", "optimizer": "Adam"}
    experiment = f"fold{fold}_{epochs}epochs"
    config: dict[str, Any] = {
        "defaults": ["_autrainer_", "_self_"],
        "results_dir": "results",
        "experiment_id": experiment,
    }
    config |= {"iterations": epochs, "hydra": {"sweeper": {"params": sweep}}}
    (work / "conf" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    shutil.rmtree(work / "results" / experiment, ignore_errors=True)  # a finished experiment is not trained again
    for step in ("preprocess", "train"):
        subprocess.run([python.parent / "autrainer", step], cwd=work, check=True, capture_output=True, text=True)
    (tested,) = (work / "results" / experiment / "training").glob("*/_test/test_holistic.yaml")
    return float(yaml.safe_load(tested.read_text(encoding="utf-8"))["accuracy"]["all"])


if __name__ == "__main__":
    run_script(main)
