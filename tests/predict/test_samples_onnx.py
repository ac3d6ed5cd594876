"""The ONNX file that takes sound: windows of recordings score as in make predict, whatever the recipe's frames are."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
import torch
import yaml

from predict import export, run
from predict.decide.fitted_params import Temperatures, write_params
from predict.inference.run_loader import TrainedRun
from predict.model_export.onnx import build_ensemble
from predict.model_export.samples_onnx import SampleModule, find_sample_windows, why_no_samples
from preprocess.frames import compute_frames
from preprocess.store.encoding import encoding_for, quantise
from recipe import Features, Network, Prediction, Recipe, Training
from tests.conftest import ROOT
from tests.predict.conftest import FEATURES, LABELS, TinyRun, predict_frames, skip_onnx
from train.networks.factory import build_network_from_recipe

N_SAMPLES = (100, 4_030, 5_000, 13_337)
"""Less than an FFT, less than a window, a window and a bit, several windows."""


def example_code() -> str:
    """The Python of docs/prediction.md."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "prediction.md").read_text("utf-8"), flags=re.S)
    return str(code)


def run_example(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with monkeypatch.context() as context:
        context.chdir(folder)
        exec(example_code(), names)
    return names


def write_real_clips(source: Path, folder: Path) -> None:
    """Real clips as mono WAV files of 8 kHz: two of 5 s, and one that is shorter than a window."""
    folder.mkdir()
    paths = sorted(source.rglob("*.ogg"))
    for number, (path, seconds) in enumerate(zip([paths[0], paths[200], paths[300]], (5, 5, 0.3), strict=True)):
        sound, sample_rate_hz = soundfile.read(path, dtype="float32")
        sound = soxr.resample(sound, sample_rate_hz, 8_000)[: round(seconds * 8_000)]
        soundfile.write(folder / f"{number}.wav", sound, 8_000, subtype="FLOAT")


def test_the_documented_lines_score_real_clips_as_make_predict_does(
    tiny_run: TinyRun, real_sound: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = tmp_path / "real"
    write_real_clips(real_sound("esc10"), recordings)
    features = replace(FEATURES, top_db=60.0)
    for fold in (0, 1):
        tiny_run.write_network(fold, features=features)
    write_params(
        tiny_run.run_paths.run_dir / "calibration.json",
        {"temperature": 1.7, "fold_temperature": 1.5, "prediction": {"window_seconds": 0.5, "hop_seconds": 0.25}},
    )
    arguments = [*tiny_run.arguments, "--features.top_db", "60", "--prediction.calibrate", "true"]
    monkeypatch.setattr(export, "write_onnx", lambda path, run: path.write_bytes(b"onnx"))
    monkeypatch.setattr(export, "write_card", lambda *_, **__: "")
    export.main(arguments)
    run.main([*arguments, "--input", str(recordings), "--wide"])
    windows = pd.read_csv(tiny_run.run_paths.input_dir(recordings) / "windows.csv")
    folder, n_windows = tiny_run.run_paths.model_dir, set()
    for clip, rows in windows.groupby("clip"):
        (folder / "recording.wav").write_bytes((recordings / str(clip)).read_bytes())
        found = run_example(folder, monkeypatch)
        assert (found["rate_hz"], found["about"]["labels"]) == (found["about"]["sample_rate_hz"], LABELS)
        np.testing.assert_allclose(found["scores"], rows[LABELS].to_numpy(), atol=1e-3, rtol=0)
        n_windows.add(len(rows))
    assert sorted(n_windows) == [1, 20]
    assert found["about"]["n_samples"] == 39 * 100 + 256


def make_run(features: Features, padding: str) -> TrainedRun:
    """Two untrained networks, whose probabilities depend on every frame."""
    if features.kind == "waveform" and features.n_bins == 1:
        network = Network(name="waveform", channels="one")
    else:
        network = Network(name="cnn_small", filterbank_bins=24 if features.kind == "waveform" else 0)
    training = Training(short_clip_padding=padding)  # type: ignore[arg-type]
    recipe = Recipe("tiny", features=features, network=replace(network, dropout=0.0), training=training)
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        std, mean = (0.1, 0.0) if features.kind == "waveform" else (20.0, -40.0)
        built = build_network_from_recipe(recipe, features.n_bins, len(LABELS), mean=mean, std=std)
        torch.nn.init.normal_(built.head[-1].weight)  # type: ignore[arg-type]
        networks.append(built.eval())
    prediction, fps = Prediction(window_seconds=0.5, hop_seconds=0.25), encoding_for(features).frames_per_second
    return TrainedRun({0: networks}, LABELS, recipe, prediction, fps, "", Temperatures(), {}, {}, {})


STFT = replace(FEATURES, kind="stft", n_bins=20)
WAVEFORM = Features(kind="waveform", sample_rate_hz=8_000, n_bins=1, storage="int16")


@pytest.mark.parametrize("padding", ["tile", "pad"])
@pytest.mark.parametrize(
    "features",
    [
        FEATURES,
        replace(FEATURES, center=False, n_fft=255, top_db=40.0, mel_scale="htk"),
        replace(FEATURES, storage="uint8"),
        STFT,
        replace(STFT, center=False, top_db=30.0, storage="uint8"),
        WAVEFORM,
        replace(WAVEFORM, n_bins=100),
    ],
    ids=lambda features: f"{features.kind}-{features.n_bins}-{features.storage}-{features.center}",
)
def test_windows_of_samples_score_as_windows_of_frames(features: Features, padding: str) -> None:
    trained, random = make_run(features, padding), np.random.default_rng(0)
    windows = find_sample_windows(trained)
    module = SampleModule(build_ensemble(trained), features, trained.recipe.training.short_clip_padding).eval()
    encoding = encoding_for(features)
    for n_samples in N_SAMPLES:
        level_db = np.interp(np.arange(n_samples), np.arange(0, 16_000, 1_000), random.uniform(-90, -10, 16))
        sound = (10 ** (level_db / 20) * random.standard_normal(n_samples)).astype(np.float32).clip(-1, 1)
        stored = quantise(compute_frames(sound, features), encoding).astype(np.float32)
        expected = predict_frames(trained.tagger(), torch.from_numpy(stored * encoding.scale + encoding.offset).float())
        samples, n_frames = slice_as_documented(sound, asdict(windows), windows.n_samples)
        assert n_frames == min(len(stored), windows.window_frames)
        with torch.inference_mode():
            found = module(torch.from_numpy(samples), torch.full((len(samples),), n_frames))
        np.testing.assert_allclose(found.numpy(), expected.windows, atol=1e-3, rtol=0)


def slice_as_documented(sound: np.ndarray, about: dict[str, Any], n_samples: int) -> tuple[np.ndarray, int]:
    """The windows [n_windows, n_samples] of a sound, and their frames, by the lines of docs/prediction.md."""
    lines = example_code().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("padded"))
    names: dict[str, Any] = {"np": np, "sound": sound, "about": about | {"n_samples": n_samples}}
    exec("\n".join(lines[first:-1]), names)
    return names["windows"], int(names["lengths"][0])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"kind": "cqt_chroma", "n_bins": 12, "fmin_hz": 30.0}, "features.kind cqt_chroma"),
        ({"kind": "stft", "frames_per_second": 52.0}, "features.frames_per_second"),
    ],
)
def test_kinds_that_cannot_take_samples_are_named(
    tiny_run: TinyRun,
    keys: dict[str, Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    features = replace(FEATURES, **keys)
    assert reason in why_no_samples(features)
    for fold in (0, 1):
        tiny_run.write_network(fold, features=features)
    skip_onnx(monkeypatch)
    options = [part for key, value in keys.items() for part in (f"--features.{key}", str(value))]
    export.main([*tiny_run.arguments, *options])
    folder = tiny_run.run_paths.model_dir
    assert not (folder / "model_from_samples.onnx").exists()
    assert re.search(rf"model_from_samples.onnx is left out: .*{reason}", capsys.readouterr().err)
    card = (folder / "README.md").read_text("utf-8")
    assert reason in card
    assert "model_from_samples" not in card
    assert yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))["features"]["kind"] == features.kind
