"""What is done with a trained run, by the commands a user types: calibrate, tune, predict anything, blend, export."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pandas as pd
import pytest
import soundfile

from predict import run
from preprocess import features
from tests.forked_python import ForkedPython
from tests.make_commands import ROOT, SMALL_RECIPE, output_options, run_in_process
from tests.predict.conftest import skip_onnx
from tests.test_pipeline import freesound_folder
from train import fit

KEYS = f"{SMALL_RECIPE} --training.epochs 1 --data.layout fsdkaggle2019 --features.noise_snrs_db [20]"
SECONDS = 200


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two predicted runs of two folds on curated and noisy clips; their recordings, and a long one."""
    root = tmp_path_factory.mktemp("trained")
    noise = np.random.default_rng(0).standard_normal(16_000 * SECONDS)
    (root / "field").mkdir()
    for name in ("1.flac", "2.flac", "3.flac", "long.flac"):
        soundfile.write(root / "field" / name, 0.1 * noise, 16_000)
    data = str(freesound_folder(root / "freesound"))
    features.main([*keys(root, "one"), "--data.folder", data, "--jobs", "1"])
    for seed, name in enumerate(("one", "other")):
        fit.main([*keys(root, name), "--training.seed", str(seed)])
        run.main([*keys(root, name), "--training.seed", str(seed), "--jobs", "1"])
    return root


def keys(root: Path, name: str) -> list[str]:
    return ["--recipe", str(ROOT / "recipes" / "demo.yaml"), "--run", name, *f"{output_options(root)} {KEYS}".split()]


def scores_of(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / "submissions" / name / "submission.csv", index_col=0)


def test_calibrated_scores_are_tuned_predicted_and_handed_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_onnx(monkeypatch, "write_samples_onnx")
    plain = scores_of(trained, "one")
    calibrated = f"{KEYS} --prediction.calibrate true"
    run_in_process(trained, "calibrate", calibrated, run="one")
    assert "calibration_error" in capsys.readouterr().out
    path = trained / "cache" / "demo" / "runs" / "one" / "calibration.json"
    fitted = {"temperature": 1.5, "unseen_clips": 5}  # too few clips are there to find one
    path.write_text(json.dumps(json.loads(path.read_text()) | fitted))
    run_in_process(trained, "tune predict export", calibrated, run="one")
    printed = capsys.readouterr().out
    assert "labels decided at" in printed
    assert "thresholds.json" in printed.partition("labels decided at")[2]
    scores = scores_of(trained, "one")
    assert list(scores.index) == list(plain.index)
    assert (scores - plain).abs().to_numpy().max() > 1e-3
    folder = trained / "submissions" / "one" / "model"
    assert {"calibration.json", "thresholds.json", "model.onnx", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    temperature = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))["temperature"]
    assert f"{temperature:.3f}" in (folder / "README.md").read_text(encoding="utf-8")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (output,) = session.run(None, {"frames": np.zeros((3, *session.get_inputs()[0].shape[1:]), np.float32)})
    assert output.shape == (3, 2)


def test_options_of_one_step_do_not_break_a_chain(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = trained / "truth.csv"
    pd.DataFrame({"fname": scores_of(trained, "other").index, "labels": "Zip"}).to_csv(truth, index=False)
    keys = f"{KEYS} --metric f1_macro --mixtures 20"
    run_in_process(trained, "tune predict score", keys, run="other", truth=truth)
    printed = capsys.readouterr().out
    assert "f1_macro on 20 mixtures" in printed
    assert "macro F1" in printed
    (trained / "cache" / "demo" / "runs" / "other" / "thresholds.json").unlink()


def test_runs_are_blended_with_fitted_weights(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_process(trained, "blend", f"{KEYS} --by geometric --fit --runs one other", run="both")
    assert "fitted weights" in capsys.readouterr().out
    scores = scores_of(trained, "both")
    assert list(scores.index) == list(scores_of(trained, "one").index)
    assert scores.columns.tolist() == ["Zip", "Bark"]


def test_a_killed_prediction_goes_on_and_its_recordings_are_inspected(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    field, cache = str(trained / "field"), trained / "cache" / "demo" / "runs" / "other" / "score_cache"
    command = [sys.executable, "-m", "predict.run", *keys(trained, "other"), "--input", field, "--jobs", "1"]
    process = ForkedPython(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(cache.rglob("*.npz")):
        time.sleep(0.005)
    assert process.poll() is None, "it was done before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npz")}
    assert 0 < len(finished) < 4
    exports = " --export audacity raven raven_merged kaleidoscope dcase json parquet --merge"
    run_in_process(trained, "predict", KEYS + exports, run="other", input=field)
    assert len(list(cache.rglob("*.npz"))) == 4
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in finished.items())
    folder = trained / "submissions" / "other" / "inputs" / "field"
    windows = pd.read_csv(folder / "windows.csv").query("clip == 'long.flac'")
    assert windows["end_s"].max() == pytest.approx(SECONDS, abs=0.1)
    assert windows["start_s"].nunique() == len(windows) / 2
    assert windows["start_s"].drop_duplicates().diff().max() == pytest.approx(0.25, abs=0.01)
    tables = {"submission.csv", "windows.csv", "labels.csv", "provenance.json"}
    exported = {"audacity", "raven", "raven_merged.selections.txt", "raven_merged.audiofiles.txt"}
    exported |= {"kaleidoscope.csv", "dcase.tsv", "detections.json", "detections.parquet"}
    assert {path.name for path in folder.iterdir()} == tables | exported
    run_in_process(trained, "inspect", KEYS, run="other", input=field)
    assert str(folder / "report.html") in capsys.readouterr().out


def test_recordings_that_the_networks_know_are_told(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever they are called: a truth table is no proof that they are new."""
    folder = trained / "known"
    folder.mkdir()
    shutil.copyfile(trained / "freesound" / "train_curated" / "train_curated3.wav", folder / "renamed.wav")
    shutil.copyfile(trained / "freesound" / "test" / "16001.wav", folder / "new.wav")
    (folder / "truth.csv").write_text("clip,labels\nrenamed.wav,Bark\nnew.wav,Zip\n")
    run_in_process(trained, "predict", KEYS, run="one", input=folder)
    run_in_process(trained, "score", KEYS, run="one", input=folder, truth=folder / "truth.csv")
    warning = "the networks were trained on 1 of the recordings, the first 'renamed.wav'"
    assert capsys.readouterr().err.count(warning) == 2
