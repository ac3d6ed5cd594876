"""make export, by its command line: the folder is whole, its ONNX file answers as PyTorch does, its weights load."""

import json
import shutil
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from errors import BadInput
from predict import calibrate, export, tune
from predict.tagger import Tagger, load_run
from recipe import Prediction
from tests.predict.conftest import LABELS, Home
from train.networks import network_of
from train.scores import write_scores

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25, blend="geometric", calibrate=True)


def test_an_export_can_be_used_without_the_run(home: Home) -> None:
    geometric = [*home.arguments, "--prediction.blend", "geometric", "--prediction.calibrate", "true"]
    calibrate.main(geometric)
    tune.main(geometric)
    train = home.table[home.table["split"] == "train"]
    truth = torch.tensor([[label == each for each in LABELS] for label in train["labels"]]).float().numpy()
    write_scores(home.places.oof_csv, train["clip"].tolist(), LABELS, truth)
    export.main(geometric)
    folder = home.places.submission("_model")
    files = ["README.md", "calibration.json", "labels.csv", "model.onnx", "recipe.yaml", "thresholds.json"]
    weights = [f"{name}.safetensors" for name in ("fold0", "fold1")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, *weights])
    run = load_run(home.places.run_home, PREDICTION)
    check_onnx(folder / "model.onnx", run.tagger())
    check_weights(folder / "fold1.safetensors", run.folds[1][0].state_dict(), home)
    check_papers(folder)


def test_thresholds_of_the_middle_window_and_what_one_fold_cannot_say_are_handed_on(home: Home) -> None:
    shutil.rmtree(home.places.run_home / "fold1")
    calibrate.main(home.arguments)
    centre = [*home.arguments, "--prediction.pooling", "centre"]
    tune.main(centre)
    export.main(centre)
    folder = home.places.submission("_model")
    assert (folder / "thresholds_centre.json").exists()
    assert not (folder / "thresholds.json").exists()
    assert "thresholds_centre.json" in (folder / "README.md").read_text(encoding="utf-8")
    assert json.loads((folder / "calibration.json").read_text())["clips"] == "the 3 out-of-fold clips of one fold"


def check_onnx(path: Path, tagger: Tagger) -> None:
    session = onnxruntime.InferenceSession(path)
    for n_windows in (1, 5):
        frames = torch.randn(n_windows, 40, 24, generator=torch.Generator().manual_seed(n_windows)) * 20 - 40
        (scores,) = session.run(None, {"frames": frames.numpy()})
        expected = torch.stack([torch.from_numpy(tagger.tag(window).scores) for window in frames])
        torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=0)


def check_weights(path: Path, expected: dict[str, torch.Tensor], home: Home) -> None:
    network = network_of(home.recipe, 24, len(LABELS))
    network.load_state_dict(load_file(path))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def check_papers(folder: Path) -> None:
    assert pd.read_csv(folder / "labels.csv")["label"].tolist() == LABELS
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert (recipe["features"]["n_bins"], recipe["prediction"]["blend"]) == (24, "geometric")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| lwlrap | 1.0000 |" in card
    assert "6 training clips of 6 sources" in card
    assert "2 networks `cnn_small`, one a fold," in card
    assert "thresholds.json" in card
    temperature = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))["temperature"]
    assert temperature != 1
    assert f"a temperature of {temperature:.3f}, fitted on 6 out-of-fold clips" in card


def test_an_export_replaces_the_one_before_whole_or_not_at_all(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "write_onnx", lambda path, run: path.write_bytes(b"onnx"))
    folder = home.places.submission("_model")
    folder.mkdir(parents=True)
    export.main(home.arguments)
    (folder / "old.txt").write_text("old")
    export.main(home.arguments)
    assert not (folder / "old.txt").exists()
    assert not (folder / "thresholds.json").exists()
    assert "no out-of-fold scores" in (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def full(path: Path, run: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(export, "write_onnx", full)
    with pytest.raises(OSError, match="no space"):
        export.main(home.arguments)
    assert (folder / "model.onnx").read_bytes() == b"onnx"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_is_no_earlier_export_is_not_replaced(home: Home, tmp_path: Path) -> None:
    folder, file = tmp_path / "recordings", tmp_path / "notes.txt"
    folder.mkdir()
    for path in (file, folder / "a.wav"):
        path.write_text("mine")
    for out in (folder, file, Path.cwd()):
        with pytest.raises(BadInput, match=r"--out .*something else is there"):
            export.main([*home.arguments, "--out", str(out)])
    assert file.read_text() == (folder / "a.wav").read_text() == "mine"


def test_thresholds_for_another_prediction_stay_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "write_onnx", lambda path, run: path.write_bytes(b"onnx"))
    tune.main([*home.arguments, "--prediction.pooling", "max"])
    export.main(home.arguments)
    assert not (home.places.submission("_model") / "thresholds.json").exists()
