"""The study of clips without labels trains a run anew for other epochs, and each by its own teacher."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import unlabelled
from train.evaluate.score_table import write_scores


def test_runs_of_other_epochs_are_runs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meta").mkdir()
    rows = [(f"{fold}.wav", fold, "dog", "True", fold) for fold in (1, 2)]
    table = pd.DataFrame(rows, columns=["filename", "fold", "category", "esc10", "src_file"])
    table.to_csv(tmp_path / "meta" / "esc50.csv", index=False)
    trained = list[tuple[str, str, str]]()

    def train(arguments: list[str]) -> None:
        given = dict(pairwise(arguments))
        run = tmp_path / "cache" / "unlabelled" / "runs" / given["--run"]
        trained.append((run.name, given["--training.epochs"], Path(given.get("--training.teacher", "")).name))
        write_scores(run / "oof.csv", table["filename"].tolist(), ["dog"], np.ones((2, 1), np.float32))

    monkeypatch.setattr(unlabelled, "train", train)
    monkeypatch.setattr(unlabelled, "make_features", lambda _: None)
    for epochs in ("2", "2", "3"):
        options = ["--data", str(tmp_path), "--cache", str(tmp_path / "cache"), "--seeds", "[0]", "--epochs", epochs]
        unlabelled.main(options)
    assert trained == [
        (
            f"{name}_{n}epochs_seed0",
            str(5 * n if name == "labelled" else n),
            f"{teacher}_{n}epochs_seed0" * bool(teacher),
        )
        for n in (2, 3)
        for name, teacher in unlabelled.TEACHERS.items()
    ]
