"""`make survey`: a small set with warnings, surveyed as users do, the same for one and two jobs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from preprocess import survey
from tests.preprocess.bad_recordings import REASONS, let_recordings_be_bad, write_noise

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of four clips; one clip copied into the other class, a file without sound, one of no known ending."""
    random = np.random.default_rng(0)
    for label in ("low", "high"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(4):
            noise = 0.1 * random.standard_normal(4000 + 100 * number)
            soundfile.write(tmp_path / "set" / label / f"{label}{number}.wav", noise, 8000)
    copied = soundfile.read(tmp_path / "set" / "low" / "low0.wav")
    soundfile.write(tmp_path / "set" / "high" / "copy.flac", *copied)
    (tmp_path / "set" / "low" / "broken.wav").write_bytes(b"<html>")
    (tmp_path / "set" / os.fsdecode(b"low/a.t\xe9l")).touch()
    return tmp_path / "set"


def options(folder: Path, cache: Path, jobs: int) -> list[str]:
    keys = {"--name": "small", "--data.folder": folder, "--data.folds": 2, "--cache": cache, "--jobs": jobs}
    return [str(part) for pair in keys.items() for part in pair]


def test_survey_of_a_small_set_for_one_and_two_jobs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    survey.main(options(folder, tmp_path / "one", 1))
    printed = capsys.readouterr()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "preprocess.survey", *options(folder, tmp_path / "two", 2)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.replace("two/small", "one/small") == printed.out
    one, two = (tmp_path / name / "small" / "survey.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    stats: dict[str, Any] = json.loads(one.read_text(encoding="utf-8"))
    assert stats["clips"]["all"] == 10
    assert stats["duplicates"] == [["high/copy.flac", "low/low0.wav"]]
    assert [one["clip"] for one in stats["unreadable"]] == ["low/broken.wav"]
    assert "broken.wav" in printed.out
    assert stats["warnings"] == [
        f"1 files below {folder} are no recordings, by name and content, and are left out (.t\\udce9l 1)"
    ]
    assert "high/copy.flac (high) = low/low0.wav (low)" in printed.out


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_decoder_that_crashes_or_hangs_costs_its_recording_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], n_jobs: int
) -> None:
    let_recordings_be_bad(monkeypatch)
    for seed, name in enumerate(("crash", "hang")):
        write_noise(folder / "low" / f"{name}.wav", seed)
    survey.main(options(folder, tmp_path / "cache", n_jobs))
    stats: dict[str, Any] = json.loads((tmp_path / "cache" / "small" / "survey.json").read_text(encoding="utf-8"))
    reasons = {one["clip"]: one["reason"] for one in stats["unreadable"]}
    assert reasons.pop("low/broken.wav").startswith("neither soundfile nor PyAV")
    assert reasons == {f"low/{name}.wav": REASONS[name] for name in ("crash", "hang")}
    assert stats["clips"]["all"] == 12
    assert stats["duplicates"] == [["high/copy.flac", "low/low0.wav"]]
    assert "low/crash.wav" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError, match="cache/small"):
        survey.main(options(folder, tmp_path / "cache", 1))


def test_bad_jobs_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--jobs 0"):
        survey.main(options(folder, tmp_path / "cache", 0))
