"""make baselines: the command a user types, its table against slow second reckoning, and data of several labels."""

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from core.errors import UserError
from tests.make_commands import make
from train.baselines import BaselineDataset, choose_k, evaluate, first_of_each_label, main, tabulate
from train.classical.inputs import INPUT_SIZES
from train.classical.models import NEIGHBOURS, vote_by_k
from train.evaluate.metrics import compute_metrics

KEYS = ["--training.crop_seconds", "0.5", "--features.sample_rate_hz", "16000", "--jobs", "1", "--neighbours", "8"]


def test_the_command_writes_a_table_and_a_plot(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    keys = "--data.layout folders --data.folds 2 --features.sample_rate_hz 16000"
    printed = make(tmp_path, "baselines", keys, RECIPE="esc50", DATA=tone_folders(clips=6))
    dataset_dir = tmp_path / "cache" / "esc50"
    table = pd.read_csv(dataset_dir / "baselines.csv")
    assert set(table["input"]) == set(INPUT_SIZES)
    assert set(table["model"]) == {"nearest centroid", "logistic regression", NEIGHBOURS}
    assert len(table) == 3 * len(INPUT_SIZES) == 15
    assert (table["score"] == table["accuracy"]).all()
    assert table.loc[table["input"] == "fft", "score"].min() > 0.8, "tones are told apart by their spectra"
    assert (table["lowest_fold"] <= table["score"]).all() and (table["score"] <= table["highest_fold"]).all()
    assert (dataset_dir / "baselines.png").read_bytes().startswith(b"\x89PNG")
    assert "spectrogram" in printed


def write_several(folder: Path) -> None:
    """Clips of one or two tones, with a table of their labels, one clip noisy and one broken."""
    random = np.random.default_rng(0)
    time_s = np.arange(8_000) / 16_000
    rows = ["fname,labels,label_quality"]
    for number in range(24):
        here = [hz for hz in (400, 1_500, 5_000) if random.random() < 0.5] or [400]
        sound = sum(0.2 * np.sin(2 * np.pi * hz * time_s) for hz in here) + 0.01 * random.standard_normal(8_000)
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
        rows.append(f"{number}.wav,{';'.join(map(str, here))},{'noisy' if number == 5 else 'curated'}")
    (folder / "7.wav").write_bytes(b"<html>")
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")


def test_several_labels_a_clip_are_scored_by_lwlrap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_several(tmp_path)
    keys = f"--data.layout csv --data.folder {tmp_path} --data.folds 3 --cache {tmp_path}/c"
    main([*KEYS, *keys.split()])
    printed = capsys.readouterr()
    assert "22 clips, 3 labels, 3 folds" in printed.out
    assert "7.wav is left out" in printed.err
    table = pd.read_csv(tmp_path / "c" / "recipe" / "baselines.csv")
    (tmp_path / "better.csv").write_text("clip,labels\n0.wav,drop\n")
    main([*KEYS, *keys.split(), "--training.corrections", str(tmp_path / "better.csv"), "--clips", "30"])
    assert "21 clips, 3 labels, 3 folds" in capsys.readouterr().out
    assert table["accuracy"].isna().all()
    assert (table["score"] == table["lwlrap"]).all()
    assert table.loc[table["input"] == "spectrogram", "map"].min() > 0.95


def test_fewer_clips_are_drawn_by_the_seed(
    tmp_path: Path, tone_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--data.folder",
        str(tone_folders(clips=6)),
        "--data.folds",
        "2",
        "--cache",
        str(tmp_path),
        "--clips",
        "9",
    ]
    tables = []
    for _ in range(2):
        main([*KEYS, *options])
        assert "9 clips" in capsys.readouterr().out
        tables.append((tmp_path / "recipe" / "baselines.csv").read_text())
    assert tables[0] == tables[1]


def test_the_first_clips_of_each_label_are_taken(
    tmp_path: Path, tone_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.folder", str(tone_folders(clips=6)), "--data.folds", "2", "--cache", str(tmp_path)]
    main([*KEYS, *options, "--clips_per_class", "4"])
    assert "12 clips, 3 labels" in capsys.readouterr().out
    multi_hot = np.array([[1, 0], [1, 1], [0, 0], [1, 0], [0, 1], [1, 1]])
    assert first_of_each_label(multi_hot, 2).tolist() == [True, True, False, False, True, False]
    with pytest.raises(UserError, match="give one"):
        main([*KEYS, *options, "--clips_per_class", "4", "--clips", "4"])


def test_no_clip_chooses_its_own_k() -> None:
    multi_hot = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    scores = np.stack([multi_hot, 1 - multi_hot, multi_hot])
    scores[0, :2] = 1 - multi_hot[:2]  # k = 1 fails in fold 0, k = 2 everywhere, k = 3 nowhere
    chosen, ks, curve = choose_k(BaselineDataset({}, multi_hot, np.array([0, 0, 1, 1])), scores)
    assert ks == "1 3", "fold 1, where k = 1 is right, chooses it for fold 0"
    assert (chosen[:2] == 1 - multi_hot[:2]).all() and (chosen[2:] == multi_hot[2:]).all()
    assert curve == [0.5, 0, 1]


def make_random_dataset(n_clips: int, n_labels: int, labels_a_clip: float) -> BaselineDataset:
    """Clips of three folds whose values tell a little of their labels."""
    random = np.random.default_rng(0)
    multi_hot = np.eye(n_labels, dtype=np.float32)[random.integers(n_labels, size=n_clips)]
    multi_hot = np.maximum(multi_hot, random.random(multi_hot.shape) < (labels_a_clip - 1) / n_labels)
    inputs = {name: multi_hot @ random.standard_normal((n_labels, 5)) for name in ("one", "other")}
    inputs = {name: (x + random.standard_normal(x.shape)).astype(np.float32) for name, x in inputs.items()}
    return BaselineDataset(inputs, multi_hot.astype(np.float32), random.integers(3, size=n_clips))


def compute(dataset: BaselineDataset, scores: np.ndarray, clips: np.ndarray | slice = slice(None)) -> dict[str, float]:
    """Every metric of scores of some clips."""
    return compute_metrics(torch.from_numpy(dataset.multi_hot[clips]), torch.from_numpy(scores))


def score_neighbours_slowly(
    dataset: BaselineDataset, x: np.ndarray, max_k: int
) -> tuple[tuple[object, ...], list[float]]:
    """The table's row of neighbours from k to the last metric, and the curve: by scikit-learn, every k kept."""
    folds, scores = range(3), np.empty((max_k, *dataset.multi_hot.shape))
    rows = [np.flatnonzero(dataset.folds == fold) for fold in folds]
    others = [np.flatnonzero(dataset.folds != fold) for fold in folds]
    for k, fold in itertools.product(range(1, max_k + 1), folds):
        x_train, x_test = (StandardScaler().fit(x[others[fold]]).transform(x[some[fold]]) for some in (others, rows))
        model = KNeighborsRegressor(n_neighbors=k, algorithm="brute").fit(x_train, dataset.multi_hot[others[fold]])
        scores[k - 1, rows[fold]] = model.predict(x_test)
    best = [np.argmax([compute(dataset, of_k[where], where)[dataset.metric] for of_k in scores]) for where in others]
    chosen = np.empty_like(scores[0])
    for fold in folds:
        chosen[rows[fold]] = scores[best[fold], rows[fold]]
    metrics = compute(dataset, chosen)
    by_fold = [compute(dataset, chosen[where], where)[dataset.metric] for where in rows]
    last = (min(by_fold), max(by_fold), metrics["lwlrap"], metrics["map"], metrics.get("accuracy"))
    ks = " ".join(map(str, sorted({int(k) + 1 for k in best})))
    return (ks, metrics[dataset.metric], *last), [compute(dataset, of_k)[dataset.metric] for of_k in scores]


@pytest.mark.parametrize("labels_a_clip", [1, 2.5])
def test_neighbours_are_scored_as_scikit_learn_does_k_by_k(labels_a_clip: float) -> None:
    dataset = make_random_dataset(90, 6, labels_a_clip)
    assert dataset.metric == ("accuracy" if labels_a_clip == 1 else "lwlrap")
    rows, curves = tabulate(dataset, evaluate(dataset, 12, n_jobs=1))
    assert len(rows) == 6
    for name, x in dataset.inputs.items():
        row, curve = score_neighbours_slowly(dataset, x, 12)
        assert (name, NEIGHBOURS, *row) in rows
        assert curves[name] == curve


@pytest.mark.parametrize("labels_a_clip", [1, 2.5])
def test_the_score_is_the_figure_of_the_metric_that_is_compared(labels_a_clip: float) -> None:
    dataset = make_random_dataset(90, 6, labels_a_clip)
    scores = np.random.default_rng(1).integers(5, size=dataset.multi_hot.shape) / 5  # with ties
    assert dataset.score(scores) == compute(dataset, scores)[dataset.metric]
    for clips in (np.arange(7), np.flatnonzero(dataset.folds == 2)):
        assert dataset.score(scores[clips], clips) == compute(dataset, scores[clips], clips)[dataset.metric]


def test_memory_does_not_grow_with_the_number_of_ks() -> None:
    dataset = make_random_dataset(1_000, 40, 2)
    neighbours = np.random.default_rng(0).integers(1_000, size=(1_000, 50))
    tracemalloc.start()
    choose_k(dataset, vote_by_k(dataset.multi_hot, neighbours))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8 * 1_000 * 40 * 8, "bytes of eight ks' scores, of fifty"


def test_clips_of_one_fold_are_refused(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="two folds"):
        main([*KEYS, "--data.folder", str(tone_folders(clips=2)), "--data.folds", "2", "--clips", "1"])
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, tone_folders: Callable[..., Path]) -> None:
    (tmp_path / "cache").touch()
    options = ["--data.folder", str(tone_folders(clips=4)), "--data.folds", "2", "--cache", str(tmp_path / "cache")]
    with pytest.raises(OSError, match="cache"):
        main([*KEYS, *options])
