"""make export, by its command line: the folder is whole, its ONNX file answers as PyTorch does, its weights load."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from core.errors import UserError
from core.files import replace_files
from predict import calibrate, export, run, tune
from predict.decide.fitted_params import write_thresholds
from predict.inference.run_loader import load_run
from predict.inference.tagger import Tagger
from predict.model_export.onnx import write_onnx
from recipe import Network, Prediction
from recipe.cli import parse_command
from tests.predict.conftest import LABELS, TinyRun, predict_frames, skip_onnx
from train.evaluate.score_table import write_scores
from train.networks.factory import build_network_from_recipe

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25, blend="geometric", calibrate=True)


def test_an_export_can_be_used_without_the_run(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_onnx(monkeypatch, "write_samples_onnx")  # it is used in test_samples_onnx.py
    geometric = [*tiny_run.arguments, "--prediction.blend", "geometric", "--prediction.calibrate", "true"]
    calibrate.main(geometric)
    tune.main(geometric)
    train = tiny_run.table[tiny_run.table["split"] == "train"]
    truth = torch.tensor([[label == each for each in LABELS] for label in train["labels"]]).float().numpy()
    write_scores(tiny_run.run_paths.oof_csv, train["clip"].tolist(), LABELS, truth)
    export.main(geometric)
    folder = tiny_run.run_paths.model_dir
    files = ["README.md", "calibration.json", "labels.csv", "recipe.yaml", "thresholds.json"]
    files += ["model.onnx", "model_from_samples.onnx"]
    weights = [f"{name}.safetensors" for name in ("fold0", "fold1")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, *weights])
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    check_onnx(folder / "model.onnx", run.tagger())
    check_weights(folder / "fold1.safetensors", run.folds[1][0].state_dict(), tiny_run)
    check_papers(folder)


def test_thresholds_of_the_middle_window_and_a_calibration_of_one_fold_are_handed_on(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tiny_run.run_paths.run_dir / "fold1")
    skip_onnx(monkeypatch)
    center = [*tiny_run.arguments, "--prediction.pooling", "center"]
    calibrate.main(center)
    tune.main(center)
    export.main(center)
    folder = tiny_run.run_paths.model_dir
    assert json.loads((folder / "thresholds.json").read_text())["prediction"]["pooling"] == "center"
    assert "thresholds.json" in (folder / "README.md").read_text(encoding="utf-8")
    assert json.loads((folder / "calibration.json").read_text())["clips"] == "the 3 out-of-fold clips of one fold"


def test_a_card_does_not_call_scores_calibrated_that_no_test_clips_could_calibrate(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_onnx(monkeypatch)
    tiny_run.write_table(tiny_run.table[tiny_run.table["split"] == "train"])
    arguments = [*tiny_run.arguments, "--prediction.calibrate", "true"]
    calibrate.main(arguments)
    export.main(arguments)
    card = (tiny_run.run_paths.model_dir / "README.md").read_text(encoding="utf-8")
    assert "Scores are not calibrated: no test clips told how all networks together differ" in card
    assert "Scores are calibrated" not in card


@pytest.mark.parametrize("network", [Network(name="squeezenet1_1", normalise="clip", dropout=0.0)])
def test_networks_of_torchvision_and_inputs_of_a_clip_s_own_scale_are_exported(
    tiny_run: TinyRun, network: Network, tmp_path: Path
) -> None:
    shutil.rmtree(tiny_run.run_paths.run_dir / "fold1")
    tiny_run.write_network(0, network=network)
    run = load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25))
    write_onnx(tmp_path / "model.onnx", run)
    check_onnx(tmp_path / "model.onnx", run.tagger())


def check_onnx(path: Path, tagger: Tagger) -> None:
    session = onnxruntime.InferenceSession(path)
    for n_windows in (1, 5):
        frames = torch.randn(n_windows, 40, 24, generator=torch.Generator().manual_seed(n_windows)) * 20 - 40
        (scores,) = session.run(None, {"frames": frames.numpy()})
        expected = torch.stack([torch.from_numpy(predict_frames(tagger, window).scores) for window in frames])
        torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=0)


def check_weights(path: Path, expected: dict[str, torch.Tensor], tiny_run: TinyRun) -> None:
    network = build_network_from_recipe(tiny_run.recipe, 24, len(LABELS))
    network.load_state_dict(load_file(path))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def check_papers(folder: Path) -> None:
    assert pd.read_csv(folder / "labels.csv")["label"].tolist() == LABELS
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert (recipe["features"]["n_bins"], recipe["prediction"]["blend"]) == (24, "geometric")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| lwlrap | 1.0000 |" in card
    assert "`samples` float32 [n_windows, 4156], `n_frames` int64 [n_windows]" in card
    assert "put 128 zeros before and after" in card
    assert "6 training clips of 6 sources" in card
    assert "2 networks `cnn_small`, one a fold," in card
    assert "thresholds.json" in card
    temperature = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))["temperature"]
    assert temperature != 1
    assert f"a temperature of {temperature:.3f}, fitted on 6 out-of-fold clips" in card


def test_a_training_clip_that_is_gone_costs_the_card_its_scores_alone(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_onnx(monkeypatch)
    train = tiny_run.table[tiny_run.table["split"] == "train"]
    write_scores(tiny_run.run_paths.oof_csv, train["clip"].tolist(), LABELS, np.full((6, 3), 0.5, np.float32))
    tiny_run.write_table(tiny_run.table.iloc[1:])
    export.main(tiny_run.arguments)
    assert re.search(
        r"the model card has no scores: clip 'train0 .* is not in .*oof\.csv is of other clips, run make train again",
        capsys.readouterr().err,
    )
    assert "lwlrap" not in (tiny_run.run_paths.model_dir / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("trained", "given", "told", "has_scores"),
    [
        ({"pooling": "max"}, [], "was trained with prediction.pooling max, and", False),
        ({"pooling": "max"}, ["--prediction.pooling=center"], "", False),
        ({"calibrate": True, "threshold": 0.3, "window_threshold": 0.4, "mode": "dense"}, [], "", True),
    ],
)
def test_keys_of_prediction_that_make_train_was_given_are_told(
    tiny_run: TinyRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trained: dict[str, object],
    given: list[str],
    told: str,
    has_scores: bool,
) -> None:
    skip_onnx(monkeypatch)
    train = tiny_run.table[tiny_run.table["split"] == "train"]
    write_scores(tiny_run.run_paths.oof_csv, train["clip"].tolist(), LABELS, np.full((6, 3), 0.5, np.float32))
    recipe = yaml.safe_dump({"prediction": {"window_seconds": 0.5, "hop_seconds": 0.25} | trained})
    (tiny_run.run_paths.run_dir / "recipe.yaml").write_text(recipe)
    for script in (export, run):
        script.main([*tiny_run.arguments, *given])
        printed = capsys.readouterr().err
        assert ("was trained with" in printed) is bool(told), printed
        assert told in printed
    assert ("lwlrap" in (tiny_run.run_paths.model_dir / "README.md").read_text(encoding="utf-8")) is has_scores


def test_an_export_replaces_the_one_before_whole_or_not_at_all(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_onnx(monkeypatch)
    folder = tiny_run.run_paths.model_dir
    folder.mkdir(parents=True)
    export.main(tiny_run.arguments)
    for old in ("fold7_1.safetensors", "thresholds.json"):
        (folder / old).write_text("old")
    export.main(tiny_run.arguments)
    assert not (folder / "fold7_1.safetensors").exists()
    assert not (folder / "thresholds.json").exists()
    assert "no out-of-fold scores" in (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def full(path: Path, run: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(export, "write_onnx", full)
    with pytest.raises(OSError, match="no space"):
        export.main(tiny_run.arguments)
    assert (folder / "model.onnx").read_bytes() == b"onnx"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_is_no_earlier_export_is_not_replaced(tiny_run: TinyRun, tmp_path: Path) -> None:
    folder, file = tmp_path / "recordings", tmp_path / "notes.txt"
    folder.mkdir()
    for path in (file, folder / "a.wav"):
        path.write_text("mine")
    for out in (folder, file, Path.cwd()):
        with pytest.raises(UserError, match=r"--out .*it holds something else"):
            export.main([*tiny_run.arguments, "--out", str(out)])
    assert file.read_text() == (folder / "a.wav").read_text() == "mine"


def test_what_commands_that_were_killed_or_are_at_work_have_there_is_no_obstacle(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_onnx(monkeypatch)
    folder = tiny_run.run_paths.model_dir
    killed = folder / ".new-killed" / "lock"
    killed.parent.mkdir(parents=True)
    killed.touch()
    with replace_files(folder, ["model.onnx"]) as other:
        (other / "model.onnx").touch()
        for _ in range(2):
            export.main(tiny_run.arguments)
            assert not killed.parent.exists()
        assert (other / "model.onnx").exists()
        assert ".new-" not in capsys.readouterr().out


def test_an_export_that_was_killed_between_its_files_is_replaced(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_onnx(monkeypatch)
    folder = tiny_run.run_paths.model_dir
    export.main(tiny_run.arguments)
    killed, names = folder / ".new-killed", export.list_names(folder)
    (killed / "files").mkdir(parents=True)
    (killed / "lock").touch()
    for name in ("model.onnx", "recipe.yaml"):
        (folder / name).rename(killed / "files" / name)
    (folder / "a.wav").write_text("mine")
    with pytest.raises(UserError, match=r"'a.wav' in it is no file of an export"):
        export.main(tiny_run.arguments)
    (folder / "a.wav").unlink()
    export.main(tiny_run.arguments)
    assert sorted(path.name for path in folder.iterdir()) == names


def test_what_was_put_into_an_export_is_not_lost(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_onnx(monkeypatch)
    export.main(tiny_run.arguments)
    notes = tiny_run.run_paths.model_dir / "folder.safetensors"
    notes.write_text("mine")
    with pytest.raises(UserError, match=r"--out .*tiny/model: 'folder.safetensors' in it is no file of an export"):
        export.main(tiny_run.arguments)
    assert notes.read_text() == "mine"


def test_the_card_s_command_finds_the_run(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_onnx(monkeypatch)
    run_paths = tiny_run.run_paths
    where = ["--cache", str(run_paths.cache), "--submissions", str(run_paths.submissions)]
    for name, run_name in (("tiny", "tiny"), ("esc50", "tiny"), ("my birds", "birds")):
        run_dir = run_paths.cache / name / "runs" / run_name
        if not run_dir.exists():
            shutil.copytree(run_paths.dataset_dir, run_dir.parent.parent, dirs_exist_ok=True)
            (run_dir.parent / "tiny").rename(run_dir)
        export.main(["--recipe", "recipes/esc50.yaml", "--name", name, "--run", run_name, *where])
        card = (run_paths.submissions / run_name / "model" / "README.md").read_text(encoding="utf-8")
        (command,) = re.findall(r"`(make predict .*?)`", card)
        made = subprocess.run(
            ["make", "-n", "-o", ".venv/.ready", *shlex.split(command)[1:]],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        words = shlex.split(made)
        parsed = parse_command([*words[words.index("-m") + 2 :], *where], "test", run.add_options).run_paths
        assert (parsed.run_dir, f"--name {shlex.quote(name)}" in command) == (run_dir, name != "esc50")


def test_the_card_says_which_views_the_onnx_file_lacks(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_onnx(monkeypatch)
    card = tiny_run.run_paths.model_dir / "README.md"
    export.main(tiny_run.arguments)
    assert "views" not in card.read_text(encoding="utf-8")
    export.main(
        [*tiny_run.arguments, "--prediction.view_shifts_s", "[-0.1, 0.1]", "--prediction.view_gains_db", "[6.0]"]
    )
    views = "`prediction.view_shifts_s: [-0.1, 0.1]`, `prediction.view_gains_db: [6.0]`"
    assert f"Not in it are the views of {views}\nin `recipe.yaml`" in card.read_text(encoding="utf-8")


def test_thresholds_of_reviewed_clips_are_handed_on(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_onnx(monkeypatch)
    prediction = Prediction(window_seconds=0.5, hop_seconds=0.25)
    values = np.array([0.25, 0.5, 0.75], np.float32)
    path = write_thresholds(tiny_run.run_paths.run_dir, LABELS, values, prediction, {"reviewed": 30, "precision": 0.9})
    export.main(tiny_run.arguments)
    folder = tiny_run.run_paths.model_dir
    assert (folder / "thresholds.json").read_bytes() == path.read_bytes()
    assert "`thresholds.json`" in (folder / "README.md").read_text(encoding="utf-8")


def test_thresholds_for_another_prediction_stay_behind(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_onnx(monkeypatch)
    tune.main([*tiny_run.arguments, "--prediction.pooling", "max"])
    export.main(tiny_run.arguments)
    assert not (tiny_run.run_paths.model_dir / "thresholds.json").exists()
