"""Tables, frames and submissions that are not of the same `make features` are never joined."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from core.errors import UserError
from predict import blend, calibrate, embed, export, run, score, tune
from preprocess import features
from recipe.cli import parse_command
from report import inspect
from tests.predict.conftest import LABELS, TinyRun, skip_onnx, tiny_run  # noqa: F401 (a fixture)
from train import find_lr, fit
from train.data.training_set import load_training_set
from train.evaluate.score_table import write_scores

ROOT = Path(__file__).parent.parent
N_RENAMES = 4
"""Of the store and two tables, after the removal of the old table of clips."""
KILLED = f"""
import os, pathlib, sys
from preprocess import features

left = int(sys.argv.pop(1))

def killed_in_time(real):
    def change(path, *more, **options):
        global left
        in_order = sys._getframe(1).f_code.co_name == "replace_files"
        if in_order and path.name in ("clips.csv", "labels.csv", "features.h5"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), {signal.SIGKILL:d})
        return real(path, *more, **options)
    return change

pathlib.Path.replace, pathlib.Path.unlink = map(killed_in_time, (pathlib.Path.replace, pathlib.Path.unlink))
features.main()
"""


def write_recordings(folder: Path, first_high: int) -> None:
    """24 tones in the order of their numbers: those whose number has the parity of `first_high` are high."""
    folder.mkdir(exist_ok=True)
    time_s, rows = np.arange(8_000) / 16_000, ["fname,labels"]
    for number in range(24):
        is_high = number % 2 == first_high
        tone = 0.3 * np.sin(2 * np.pi * (4_000 if is_high else 300) * (1 + number / 100) * time_s)
        soundfile.write(folder / f"{number}.wav", tone, 16_000)
        rows.append(f"{number}.wav,{'high' if is_high else 'low'}")
    (folder / "labels.csv").write_text("\n".join(rows))


def arguments(root: Path) -> list[str]:
    keys = "--data.layout csv --data.folds 2 --features.sample_rate_hz 16000 --features.n_fft 512 --features.n_bins 16"
    return [*keys.split(), "--data.folder", str(root / "data"), "--cache", str(root / "cache")]


def check_labels(root: Path) -> None:
    """The label of each training clip is that of its frames. Raises UserError where nothing can be trained on."""
    command = parse_command(arguments(root), "test")
    training_set = load_training_set(command.recipe, command.run_paths, torch.device("cpu"), quiet=True)
    for row, target in enumerate(training_set.targets):
        loudest = int(training_set.frame_bank.clip_frames(row).mean(0).argmax())
        assert training_set.labels[int(target.argmax())] == ("high" if loudest > 8 else "low")


def test_a_kill_between_renames_never_joins_new_tables_with_old_frames(tmp_path: Path) -> None:
    refused = 0
    for n_renames in range(N_RENAMES):
        write_recordings(tmp_path / "data", first_high=n_renames % 2)
        features.main([*arguments(tmp_path), "--jobs", "1"])
        check_labels(tmp_path)
        write_recordings(tmp_path / "data", first_high=1 - n_renames % 2)  # renumbered
        command = [sys.executable, "-c", KILLED, str(n_renames), *arguments(tmp_path), "--jobs", "1"]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert process.returncode == -signal.SIGKILL, process.stderr
        try:
            check_labels(tmp_path)
        except UserError as error:
            assert re.search("run make features", str(error))
            refused += 1
        features.main([*arguments(tmp_path), "--jobs", "1"])
        check_labels(tmp_path)
        names = sorted(path.name for path in (tmp_path / "cache" / "recipe").iterdir())
        assert names == [".lock", "clips.csv", "features.h5", "labels.csv"]
    assert refused == N_RENAMES - 1


STEPS: dict[str, tuple[Callable[[Sequence[str]], object], str]] = {
    "train": (fit.main, "--features.n_bins 24"),
    "lr": (find_lr.main, "--features.n_bins 24"),
    "predict": (run.main, ""),
    "tune": (tune.main, ""),
    "mixtures": (tune.main, "--mixtures 4"),
    "calibrate": (calibrate.main, ""),
    "score": (score.main, ""),
    "inspect": (inspect.main, "--no_maps"),
    "blend": (blend.main, "--run both --runs tiny --fit"),
    "export": (export.main, ""),
    "embed": (embed.main, ""),
}
FEATURES = "--features.sample_rate_hz 8000 --features.n_fft 256 --features.hop_length 100 --features.fmax_hz 4000"


@pytest.fixture
def replaced(tiny_run: TinyRun) -> TinyRun:  # noqa: F811
    """A predicted run whose tables stayed when its recordings, and their frames, were replaced."""
    table, run_paths = tiny_run.table, tiny_run.run_paths
    run.main([*tiny_run.arguments, "--jobs", "1"])
    training = table.loc[table["split"] == "train", "clip"].tolist()
    write_scores(run_paths.oof_csv, training, LABELS, np.full((len(training), len(LABELS)), 0.5, np.float32))
    clips_csv = run_paths.clips_csv.read_bytes()
    table["path"] = table["path"].iloc[::-1].to_numpy()
    tiny_run.write_store()
    run_paths.clips_csv.write_bytes(clips_csv)
    return tiny_run


@pytest.mark.parametrize("name", STEPS)
def test_every_step_refuses_tables_of_other_frames(
    replaced: TinyRun, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, options = STEPS[name]
    skip_onnx(monkeypatch)
    with pytest.raises(UserError, match=r"clips\.csv was not written together with .*features\.h5.*run make features"):
        main([*replaced.arguments, *FEATURES.split(), *options.split()])


@pytest.mark.parametrize("name", ["score", "inspect", "blend"])
def test_a_submission_of_other_frames_is_refused_until_it_is_predicted_again(replaced: TinyRun, name: str) -> None:
    main, options = STEPS[name]
    replaced.write_table(replaced.table)  # as make features does
    with pytest.raises(UserError, match=r"submission\.csv was predicted from other frames .*run make predict again"):
        main([*replaced.arguments, *options.split()])
    run.main([*replaced.arguments, "--jobs", "1"])
    main([*replaced.arguments, *options.split()])
    if name == "blend":
        score.main([*replaced.arguments, "--run", "both"])
        replaced.table["path"] = replaced.table["path"].iloc[::-1].to_numpy()
        replaced.write_store()
        with pytest.raises(UserError, match=r"both/submission\.csv was predicted from other frames"):
            score.main([*replaced.arguments, "--run", "both"])
