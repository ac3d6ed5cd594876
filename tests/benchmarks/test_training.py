"""The benchmark of training runs on whatever device there is, and prints what it claims to."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.dataloader import CropDataset, loader_batches
from benchmarks.random_store import write_random_store
from benchmarks.training import AUGMENTATIONS, Bench, main, make_job
from recipe import Features, Recipe, Training
from train.data.frame_bank import load_frame_bank


def test_it_prints_a_rate_and_a_ratio_for_each_contender(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--training.batch_size", "4", "--training.crop_seconds", "0.6", "--features.n_bins", "32"]
    main(["--device", "cpu", "--clips", "9", "--seconds", "0.05", "--rounds", "1", "--workers", "1", *sizes])
    out = capsys.readouterr().out
    assert re.search(r"torch \d", out)
    assert "cnn_small, batch 4 of 38 frames x 32 bins, torch.float32" in out
    contenders = ["one constant batch", "frames on the device", "frames in the file", "DataLoader, 1 workers"]
    for contender in contenders:
        line = re.search(rf"{contender} +(\S+) +(\S+) +(\S+) +\S+ to \S+\n", out)
        assert line
        steps_per_s, clips_per_s, ratio = map(float, line.groups())
        assert clips_per_s == pytest.approx(4 * steps_per_s, rel=0.02)
        assert ratio > 0
    assert re.search(r"an epoch of 4970 clips: [\d.]+ s", out)
    assert re.search(r"TFLOP/s of \S+ in matrix products: [\d.]+%", out)


@pytest.mark.parametrize(("longest", "moves"), [(5.0, True), (0.0, True), (1e-9, False)])
def test_a_step_clips_as_training_does(tmp_path: Path, longest: float, moves: bool) -> None:
    training = Training(clip_gradient=longest, optimizer="sgd", schedule="constant", batch_size=2, crop_seconds=0.6)
    recipe = Recipe(features=Features(n_bins=16), training=replace(training, weight_decay=0.0))
    names = write_random_store(tmp_path / "features.h5", recipe.features, 4)
    frame_bank = load_frame_bank(tmp_path / "features.h5", recipe.features, names, "cpu")
    bench = Bench(make_job(frame_bank, recipe, torch.device("cpu")))
    before = bench.network.head.get_parameter("2.weight").detach().clone()
    bench.step(bench.batch)
    moved = float((bench.network.head.get_parameter("2.weight").detach() - before).abs().max())
    assert (moved > 1e-7) == moves


def test_the_loader_feeds_what_training_is_fed() -> None:
    clips = [np.full((length, 8), -10.0 * number, np.float16) for number, length in enumerate([3, 20, 50], start=1)]
    training = Training(batch_size=3, **AUGMENTATIONS)
    dataset = CropDataset(clips, np.eye(3, dtype=np.float32), 12, training)
    batches = loader_batches(dataset, torch.device("cpu"), 0)
    drawn = [next(batches) for _ in range(40)]
    for batch in drawn:
        assert batch.x.shape == (3, 12, 8)
        assert batch.x.dtype == batch.y.dtype == torch.float32
        assert -30.1 <= float(batch.x.min()) <= float(batch.x.max()) <= -9.9
    labels = torch.cat([batch.y for batch in drawn]).sum(1)
    assert labels.unique().tolist() == [1.0, 2.0]
    # A third of the mixtures are of a clip with itself; mixup divides the labels.
    assert float((labels == 2).float().mean()) == pytest.approx(training.crossfade_probability * 2 / 3, abs=0.12)
