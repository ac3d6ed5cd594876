r"""SCRIPT What clips without labels bring: accuracy of ESC-10 with a fifth of the labels, alone and with a teacher.

    python -m benchmarks.unlabelled --data path/to/ESC-50-master --seeds [0,1,2]

Of ESC-50's ten free classes one source of each class and fold keeps its labels, about a fifth of the clips. `labelled`
is trained on these clips alone, `first` on all by the scores of `labelled`, `second` by those of `first`; a small
network a fold, and as many batches in each. A clip is scored by the network that saw none of its fold, with labels or
without. A run that is finished is not trained again.
"""

from core.entrypoint import run_script

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from benchmarks.machine import describe_machine
from core.csv_tables import read_table, write_table
from preprocess.dataset.clip_table import UNLABELLED
from preprocess.features import main as make_features
from recipe.cli import parse_command, parse_own_options
from train.evaluate.score_table import read_scores
from train.fit import main as train

SMALL = (
    "--name unlabelled --data.layout csv --features.hop_length 1380 --network.modulation_units 0 "
    "--training.crop_seconds 2.5 --features.pitch_shifts [] --features.time_stretches []"
)
TEACHERS = {"labelled": None, "first": "labelled", "second": "first"}
"""Each run with the one that teaches it."""
N_UNLABELLED = 4
"""Clips without labels for each with, and drawn in an epoch for each with."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    table, truth = write_labels(Path(options.data), Path(options.cache) / "unlabelled_tables")
    common = ["--recipe", "recipes/esc50.yaml", *SMALL.split(), "--cache", options.cache, "--jobs", str(options.jobs)]
    common += ["--data.folder", str(Path(options.data) / "audio"), "--data.table", str(table)]
    runs = parse_command(common[:-6], "").run_paths.dataset_dir / "runs"
    print(describe_machine(torch.device("cpu")))
    make_features(common)
    accuracies: dict[str, list[float]] = {name: [] for name in TEACHERS}
    for seed in options.seeds:
        suffix = f"_{options.epochs}epochs_seed{seed}"
        for name, teacher in TEACHERS.items():
            n_epochs = options.epochs if teacher else options.epochs * (1 + N_UNLABELLED)
            keys = ["--training.epochs", str(n_epochs), "--training.seed", str(seed)]
            if teacher:
                keys += ["--training.teacher", str(runs / f"{teacher}{suffix}")]
                keys += ["--training.noisy_rate", str(N_UNLABELLED)]
            oof_csv = runs / f"{name}{suffix}" / "oof.csv"
            if not oof_csv.exists():
                train([*common, "--run", oof_csv.parent.name, *keys])
            scores = read_scores(oof_csv)
            chosen = [scores.labels[column] for column in scores.values.argmax(1)]
            correct = [truth[clip] == label for clip, label in zip(scores.clips, chosen, strict=True)]
            accuracies[name].append(statistics.mean(correct))
            print(f"{name}, seed {seed}: accuracy of {len(correct)} clips {accuracies[name][-1]:.4f}", flush=True)
    for name, values in accuracies.items():
        print(f"{name}: {statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")


def read_options(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(description="What clips without labels bring.", exit_on_error=False)
    parser.add_argument("--data", type=str, required=True, help="ESC-50's folder, or its ESC-10 part.")
    parser.add_argument("--cache", type=str, default="cache", help="Folder of stores and runs.")
    parser.add_argument("--epochs", type=PositiveInt, default=40, help="Of the runs with a teacher.")
    parser.add_argument("--seeds", type=list[NonNegativeInt], default=[0, 1, 2], help="Of the networks.")
    parser.add_argument("--jobs", type=int, default=-1, help="Networks trained at once; -1 is one a core.")
    return parse_own_options(parser, arguments)


def write_labels(data: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """The table of the ten free classes in which one source of each class and fold has labels, and the true labels."""
    esc50 = read_table(data / "meta" / "esc50.csv", ["filename", "fold", "category", "esc10", "src_file"])
    esc10 = esc50[esc50["esc10"] == "True"]
    sources = esc10.drop_duplicates(["fold", "category", "src_file"]).sample(frac=1, random_state=0)
    by_source = sources.drop_duplicates(["fold", "category"])
    is_labelled = esc10["src_file"].isin(by_source["src_file"])
    labels = esc10["category"].where(is_labelled, "")
    quality = np.where(is_labelled, "curated", UNLABELLED)
    rows = zip(esc10["filename"], labels, esc10["fold"], esc10["src_file"], quality, strict=True)
    write_table(folder / "labels.csv", ["fname", "labels", "fold", "group", "label_quality"], rows)
    return folder / "labels.csv", dict(zip(esc10["filename"], esc10["category"], strict=True))


if __name__ == "__main__":
    run_script(main)
