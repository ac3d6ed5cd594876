"""Clicks at known samples are found at their seconds of the original recording, whatever was trimmed and resampled."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor

from preprocess.dataset.annotations.reader import read_annotations
from preprocess.store.reader import open_store
from tests.make_commands import SMALL_RECIPE, run_in_process

RATES_HZ, FORMATS = (44_100, 48_000, 22_050, 16_000), ("flac", "ogg", "wav")
CLICKS_S = (0.71234, 1.1, 1.6543)
"""In recordings of SECONDS, silent otherwise."""
SECONDS, WINDOW_S, HOP_S, FRAME_S = 2.4, 0.05, 0.005, 256 / 16_000
TOLERANCE_S = HOP_S + FRAME_S / 2
"""A frame hears a click from half its length before on; windows begin at every hop."""
KEYS = f"{SMALL_RECIPE} --features.hop_length 80 --features.n_fft 256 --features.trim_top_db 40 --training.epochs 1"
WINDOW_KEYS = f"--prediction.window_seconds {WINDOW_S} --prediction.hop_seconds {HOP_S} --prediction.threshold 0.5"
EXPORTS = {"dcase": "dcase.tsv", "raven_merged": "raven_merged.selections.txt", "kaleidoscope": "kaleidoscope.csv"}
EXPORTS |= {"audacity": "audacity", "raven": "raven"}


def write_clicks(folder: Path) -> dict[str, np.ndarray]:
    """A recording a format and rate, in a folder a format; returns the seconds of each one's clicks."""
    random, clicks_s = np.random.default_rng(0), {}
    for name in FORMATS:
        (folder / name).mkdir(parents=True)
        for rate_hz in RATES_HZ:
            sound, at = np.zeros(round(SECONDS * rate_hz)), np.array([round(time_s * rate_hz) for time_s in CLICKS_S])
            length = rate_hz // 500
            for start in at:
                sound[start - length // 2 :][:length] = random.uniform(-0.9, 0.9, length)
            soundfile.write(folder / name / f"{rate_hz}.{name}", sound, rate_hz)
            clicks_s[f"{name}/{rate_hz}.{name}"] = at / rate_hz
    return clicks_s


def score_loud_windows(
    network: torch.nn.Module, clips: Sequence[tuple[Tensor, np.ndarray]], window: int, *, min_db: float, **_: Any
) -> Tensor:
    """In place of a network: 0.9 for the first label where a window holds a frame of a click, else 0.1."""
    loud = [(frames[start : start + window] > min_db).any() for frames, starts in clips for start in starts.tolist()]
    return torch.stack(loud).float()[:, None] * torch.tensor([0.8, 0.0, 0.0]) + 0.1


def test_clicks_are_found_at_their_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "clicks"
    clicks_s = write_clicks(data)
    run_in_process(tmp_path, "features train", KEYS, data=data)
    with open_store(tmp_path / "cache" / "demo" / "features.h5") as store:
        min_db = max(store.read(row).max() for row in range(len(store.clips))) * store.scale + store.offset - 25
    score = partial(score_loud_windows, min_db=float(min_db))
    monkeypatch.setattr("train.evaluate.window_scorer.forward_windows", score)
    export = f"{KEYS} {WINDOW_KEYS} --merge --audacity_scores false --export {' '.join(EXPORTS)}"
    run_in_process(tmp_path, "predict", export, data=data)
    run_in_process(tmp_path, "predict", export, data=data, input=data)
    for folder in (tmp_path / "submissions" / "demo", tmp_path / "submissions" / "demo" / "inputs" / "clicks"):
        windows = pd.read_csv(folder / "windows.csv").query("label == 'flac'")
        assert set(windows["clip"]) == set(clicks_s)
        for clip in clicks_s:
            rows = windows[windows["clip"] == clip]
            assert rows["start_s"].min() > 0.5, "silence was not trimmed"
            (start_s, end_s), loud = rows[["start_s", "end_s"]].to_numpy().T[..., None], rows["score"].to_numpy() > 0.5
            near = (start_s - TOLERANCE_S < clicks_s[clip]) & (clicks_s[clip] < end_s + TOLERANCE_S)
            inside = (start_s + TOLERANCE_S < clicks_s[clip]) & (clicks_s[clip] < end_s - TOLERANCE_S)
            assert (near.any(1) | ~loud).all(), clip
            assert (loud | ~inside.any(1)).all(), clip
        for filename in EXPORTS.values():
            events = read_annotations(folder / filename, recordings=list(clicks_s)).events
            for clip, (first, middle, last) in clicks_s.items():
                found = events[events["fname"] == clip]
                starts, ends = found["start_s"].to_numpy(), found["end_s"].to_numpy()
                assert len(found) == 3, (filename, clip)
                assert ends[:2] == pytest.approx([first + WINDOW_S, middle + WINDOW_S], abs=TOLERANCE_S)
                assert starts[1:] == pytest.approx([middle - WINDOW_S, last - WINDOW_S], abs=TOLERANCE_S)
                assert (starts[1] + ends[1]) / 2 == pytest.approx(middle, abs=TOLERANCE_S / 2)
