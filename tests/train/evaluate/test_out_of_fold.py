"""Out-of-fold metrics count curated clips, by label too; label issues are proposed, and serve as corrections."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.csv_tables import read_table
from predict.inference.oof_predictions import predict_out_of_fold
from predict.inference.run_loader import load_run
from recipe.cli import parse_command
from tests.train.factories import OPTIONS, fit, get_run_dir, write_training_dataset
from tests.train.store_factories import make_training_set
from train.evaluate.metrics import per_label_table
from train.evaluate.out_of_fold import find_label_issues, metrics_row
from train.evaluate.score_table import read_scores


def test_clips_whose_absent_label_outscores_a_given_one_are_label_issues() -> None:
    clips, noisy = [f"clip {number}" for number in range(4)], torch.tensor([False, True, False, True])
    targets = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.7, 0.1, 0.0], [0.9, 0.2, 0.3], [0.2, 0.4, 0.3]])
    assert find_label_issues(clips, ["hum", "low, deep", "高い"], targets, noisy, scores) == [
        ("clip 1", "hum", "low, deep", "noisy", "0.6000"),
        ("clip 2", "hum", "hum;low, deep", "curated", "0.1000"),
        ("clip 3", "drop", "高い", "noisy", "0.1000"),
    ]


def test_metrics_are_of_the_rows_asked_for() -> None:
    training_set = make_training_set([[1, 0, 0], [0, 1, 0]], [False, False])
    scores = torch.tensor([[0.9, 0.1, 0.2], [0.7, 0.1, 0.0]])
    assert metrics_row(training_set, training_set.targets[:1], scores[:1]) | {"map": 1.0} == {
        "clips": 1,
        "lwlrap": 1.0,
        "map": 1.0,
        "accuracy": 1.0,
        "f1_micro": 1.0,
        "f1_macro": 1.0,
        "hamming": 1.0,
    }


def test_a_wrong_label_is_found_and_its_correction_taken(tmp_path: Path) -> None:
    write_training_dataset(tmp_path)
    path = tmp_path / "recipe" / "clips.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert table.loc[4, "labels"] == "low, deep"
    table.loc[4, "labels"] = "高い"
    table.to_csv(path, index=False)
    options = ["--training.epochs", "10", "--training.metric", "last"]
    fit(tmp_path, *options)
    label_issues = get_run_dir(tmp_path) / "label_issues.csv"
    first = read_table(label_issues).iloc[0]
    assert (first["clip"], first["given_labels"]) == ("clip 4.wav", "高い")
    assert first["labels"] in ("low, deep", "drop")
    fit(tmp_path, *options, "--run", "corrected", "--training.corrections", str(label_issues), "--folds", "0")
    assert (get_run_dir(tmp_path).parent / "corrected" / "fold0" / "best.pt").exists()


def test_several_seeds_are_blended_as_in_prediction(tmp_path: Path) -> None:
    write_training_dataset(tmp_path, n_clips=12, folds=2)
    pooled = ["--prediction.pooling", "max", "--prediction.blend", "geometric"]
    fit(tmp_path, "--training.metric", "last", "--training.seeds", "2", *pooled)
    asked = parse_command([*OPTIONS[:-2], "--cache", str(tmp_path), *pooled], "test")
    run = load_run(get_run_dir(tmp_path), asked.recipe.prediction)
    out_of_fold = predict_out_of_fold(asked.run_paths, run, torch.device("cpu"), 1, None)
    scores = read_scores(get_run_dir(tmp_path) / "oof.csv")
    values = np.stack([each.scores for each in out_of_fold.clip_predictions])
    assert values == pytest.approx(scores.values, abs=1e-5)


TABLE_LABELS = ["a, b", "高い", "never"]


def test_each_label_has_its_metrics_and_an_absent_one_no_score() -> None:
    truth = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    scores = torch.tensor([[0.9, 0.1, 0.6], [0.2, 0.7, 0.1], [0.1, 0.8, 0.2], [0.7, 0.3, 0.1]])
    table = per_label_table(truth, scores, scores >= 0.5, TABLE_LABELS)
    assert table.index.tolist() == TABLE_LABELS
    assert table["clips"].tolist() == [3, 2, 0]
    assert table["false_positives"].tolist() == [0, 1, 1]
    assert table["false_negatives"].tolist() == [1, 1, 0]
    assert table["lwlrap"].round(4).tolist()[:2] == [0.8333, 1.0]
    assert table["average_precision"].round(4).tolist()[:2] == [1.0, 0.8333]
    assert table.loc["never", ["lwlrap", "average_precision"]].isna().all()
