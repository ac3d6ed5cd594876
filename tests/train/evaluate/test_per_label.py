"""Tables label by label count what naive loops count."""

from pathlib import Path

import pandas as pd
import torch

from train.evaluate.per_label import write_confusion, write_per_label

LABELS = ["a, b", "高い", "never"]


def test_each_label_has_its_metrics_and_an_absent_one_no_score(tmp_path: Path) -> None:
    truth = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    scores = torch.tensor([[0.9, 0.1, 0.6], [0.2, 0.7, 0.1], [0.1, 0.8, 0.2], [0.7, 0.3, 0.1]])
    write_per_label(tmp_path / "per_label.csv", LABELS, truth, scores)
    table = pd.read_csv(tmp_path / "per_label.csv").set_index("label")
    assert table.index.tolist() == LABELS
    assert table["clips"].tolist() == [3, 2, 0]
    assert table["false_positives"].tolist() == [0, 1, 1]
    assert table["false_negatives"].tolist() == [1, 1, 0]
    assert table["lwlrap"].round(4).tolist()[:2] == [0.8333, 1.0]
    assert table["average_precision"].round(4).tolist()[:2] == [1.0, 0.8333]
    assert table.loc["never", ["lwlrap", "average_precision"]].isna().all()


def test_the_confusion_counts_clips_by_label_and_highest_score(tmp_path: Path) -> None:
    truth = torch.eye(3)[[0, 0, 1, 1, 1]]
    scores = torch.eye(3)[[0, 2, 1, 1, 0]]
    write_confusion(tmp_path / "confusion.csv", LABELS, truth, scores)
    table = pd.read_csv(tmp_path / "confusion.csv", index_col="label")
    assert table.columns.tolist() == table.index.tolist() == LABELS
    assert table.to_numpy().tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]
