"""The commands of users whose terminal or locale is not UTF-8: labels and names of any script end no step."""

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.forked_python import ForkedPython
from tests.make_commands import ROOT, SMALL_RECIPE, run_make

LABELS = ("🎺 haut", "高い")
KEYS = f"{SMALL_RECIPE} --training.epochs 1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of four tones in noise, in a folder whose name a shell and make would take apart."""
    random, time_s = np.random.default_rng(0), np.arange(12_000) / 16_000
    for tone_hz, label in zip((300, 4_000), LABELS, strict=True):
        folder = tmp_path / 'it\'s $HOME, "é" #1' / label
        folder.mkdir(parents=True)
        for number in range(4):
            sound = 0.3 * np.sin(2 * np.pi * tone_hz * time_s) + 0.03 * random.standard_normal(12_000)
            soundfile.write(folder / f"é{number}.wav", sound, 16_000)
    return folder.parent


def run_steps(
    root: Path,
    data: Path,
    environment: dict[str, str],
    steps: dict[str, str],
    popen: type[subprocess.Popen[str]] = subprocess.Popen,
) -> None:
    """Targets with their keys, in a process of this environment."""
    command = [sys.executable, "-m", "tests.locale_steps", str(root), str(data), *chain(*steps.items())]
    environment = os.environ | environment | {"PYTHONWARNINGS": "error"}
    pipe = subprocess.PIPE
    process = popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, encoding="latin-1")
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints + printed


def test_no_label_ends_a_step_whose_streams_lack_its_letters(tmp_path: Path, data: Path) -> None:
    steps = {"survey survey_page features": KEYS, "baselines": f"{KEYS} --neighbours 3"}
    run_steps(tmp_path, data, {"PYTHONIOENCODING": "latin-1"}, steps, ForkedPython)


def test_no_step_ends_at_a_letter(tmp_path: Path, data: Path) -> None:
    """Of a locale in which neither streams nor names of files are UTF-8."""
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    steps = {"survey survey_page features train predict score inspect": KEYS}
    run_steps(tmp_path, data, environment, steps)
    submission = pd.read_csv(tmp_path / "submissions" / "demo" / "submission.csv")
    assert list(submission.columns) == ["clip", *sorted(LABELS)]
    assert set(submission["clip"]) == {f"{label}/é{number}.wav" for label in LABELS for number in range(4)}
    assert "🎺" in (tmp_path / "submissions" / "demo" / "report.html").read_text(encoding="utf-8")


def test_names_that_are_no_text_are_told(tmp_path: Path, data: Path) -> None:
    odd = os.fsencode(data / LABELS[0]) + b"/\xff.wav"
    Path(os.fsdecode(odd)).touch()
    completed = run_make(tmp_path, "survey", SMALL_RECIPE, {"PYTHONIOENCODING": "ascii"}, DATA=data)
    assert completed.returncode == 2
    (line,) = [line for line in completed.stderr.splitlines() if line.startswith("earmark: ")]
    assert "xff.wav" in line and "not UTF-8, rename" in line
    assert "Traceback" not in completed.stderr
