"""The study of noisy labels trains every experiment on the folder as downloaded, and prints what it reached."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmarks import noisy_labels
from core.errors import UserError


def test_it_prints_each_experiment_s_metrics_and_what_it_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiments = {name: noisy_labels.EXPERIMENTS[name] for name in ("curated", "corrections", "teacher")}
    monkeypatch.setattr(
        noisy_labels,
        "EXPERIMENTS",
        experiments | {"teacher": f"{experiments['teacher']} --training.teacher_keep_threshold 0"},
    )
    monkeypatch.setattr(noisy_labels, "VIEWS", {"gains": {"view_gains_db": [6.0]}})
    arguments = ["--data", str(write_folder(tmp_path)), "--cache", str(tmp_path / "cache")]
    arguments += ["--jobs", "1", "--epochs", "2", "--experiments", *experiments, "--seeds", "[3]", "--views", "teacher"]
    noisy_labels.main(arguments)
    printed = capsys.readouterr().out
    for name in experiments:
        assert re.search(
            rf"^{name} +lwlrap 0\.\d{{4}} \(.*together 0\.\d{{4}}\), mAP 0\.\d{{4}} \(.*\)$", printed, re.M
        )
    assert printed.count("beyond the first, together: lwlrap ") == len(experiments) - 1
    first = re.search(r"teacher seed 3: lwlrap ([\d.]+)", printed)
    again = re.search(r"teacher_2epochs_seed3 scored with as it is: lwlrap ([\d.]+)", printed)
    assert first and again
    assert float(again[1]) == pytest.approx(float(first[1]), abs=1e-3)
    assert "teacher_2epochs_seed3 scored with gains: " in printed
    noisy_labels.main(arguments)
    assert "loss" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--epochs 0", "--seeds [-1]"])
def test_options_that_cannot_be_are_refused_before_training(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"(?s){option.removeprefix('--').split()[0]}.* does not conform"):
        noisy_labels.main(["--cache", str(tmp_path), *option.split()])
    assert not list(tmp_path.iterdir())


def write_folder(root: Path) -> Path:
    """Ten curated and ten noisy clips of half a second, one test clip."""
    folder, random = root / "freesound", np.random.default_rng(0)
    for pool in ("train_curated", "train_noisy", "test"):
        (folder / pool).mkdir(parents=True)
        names = [f"{pool}{number}.wav" for number in range(10 if pool != "test" else 1)]
        for name in names:
            soundfile.write(folder / pool / name, 0.1 * random.standard_normal(22_050), 44_100)
        labels = ["Zip" if number % 2 else "Bark" for number in range(len(names))]
        pd.DataFrame({"fname": names, "labels": labels}).to_csv(folder / f"{pool}.csv", index=False)
    pd.DataFrame({"fname": names, "Zip": 0, "Bark": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return folder
