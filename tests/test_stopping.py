"""Ctrl-C, SIGTERM and a kill end every step that works side by side, with all of its processes.

Of `make features`: tests/preprocess/test_stopping.py.
"""

from core.entrypoint import RESTART_ADVICE, RESUME_ADVICE

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.forked_python import ForkedPython
from tests.make_commands import ROOT, SMALL_RECIPE, output_options, run_in_process
from tests.processes import all_ended, check_interrupted, children_of, sandboxes_of, wait_while_running
from train.runs.checkpoint import load_checkpoint

STEPS = {
    "survey": "preprocess.survey --name new",
    "baselines": "train.baselines --name new",
    "train": "train.fit --run {run} --training.epochs 100000",
    "predict": "predict.run --input {data}",
    "embed": "predict.embed --input {data}",
    "inspect": "report.inspect",
    "rendering": "synth.render_demo --folder {root}/sound",
}
"""Recordings named hangs do so in their decoders; the others work for long."""
ADVICE = {
    "train": "the same command goes on after the last whole epoch",
    "predict": "what was finished of INPUT= is kept, run the same command again to go on",
    "rendering": RESUME_ADVICE,
}
"""Of steps that keep what was finished."""
Start = Callable[[str], tuple[subprocess.Popen[str], Callable[[], object]]]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a predicted run of two folds, on recordings of which some hang where `faulty_decoders` decode."""
    root = tmp_path_factory.mktemp("stopping")
    random = np.random.default_rng(0)
    for number in range(8):
        path = root / "data" / "ab"[number % 2] / f"{'hangs_' if number > 3 else ''}{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.uniform(-0.5, 0.5, 12_000), 16_000)
    keys = f"{SMALL_RECIPE} --training.epochs 1 --network.name cnn_small"
    run_in_process(root, "features train predict", keys, data=root / "data")
    return root


@pytest.fixture
def start(predicted: Path, tmp_path: Path, faulty_decoders: None) -> Start:
    """Starts a step's command in a session of its own; also returns whether it has come to its slow work."""

    def start_step(step: str) -> tuple[subprocess.Popen[str], Callable[[], object]]:
        command = STEPS[step].format(data=predicted / "data", root=tmp_path, run=tmp_path.name).split()
        if step != "rendering":
            keys = f"--data.folder {predicted}/data {SMALL_RECIPE} --network.name cnn_small"
            command += ["--recipe", "recipes/demo.yaml", *keys.split(), *output_options(predicted).split()]
        process = ForkedPython(
            [sys.executable, "-m", *command, "--jobs", "2"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        signs = {"train": (predicted, f"{tmp_path.name}/fold*/last.pt"), "rendering": (tmp_path, "sound/*/*/*.flac")}
        folder, pattern = signs.get(step, (tmp_path, "hangs*"))
        return process, lambda: list(folder.rglob(pattern))

    return start_step


# SIGTERM raises a KeyboardInterrupt in the command, as Ctrl-C does: once, below, is enough.
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_stopped_amid_its_work_leaves_no_process(
    start: Start, predicted: Path, tmp_path: Path, step: str, how: signal.Signals
) -> None:
    process, is_at_work = start(step)
    wait_while_running(process, is_at_work)
    children = children_of(process)
    assert children
    send = os.killpg if how == signal.SIGINT else os.kill  # as a terminal does, and as kill
    send(process.pid, how)
    check_interrupted(process, how, ADVICE.get(step, RESTART_ADVICE))
    assert all_ended(children)
    for checkpoint in predicted.rglob(f"{tmp_path.name}/fold*/last.pt"):
        assert load_checkpoint(checkpoint).resume is not None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_networks_side_by_side_that_are_stopped_while_they_start_do_not_train_on(
    start: Start, predicted: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """Nor would they write beside a run that is resumed."""
    process, _ = start("train")
    wait_while_running(process, lambda: sandboxes_of(process))
    children = sandboxes_of(process)
    os.kill(process.pid, how)
    check_interrupted(process, how, ADVICE["train"])
    assert all_ended(children)
    assert not list(predicted.rglob(f"{tmp_path.name}/fold*/*"))
