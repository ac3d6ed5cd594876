"""make predict INPUT=..., by its command line: what it writes, and how it ends."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.device import DevicePool
from core.errors import UserError
from core.file_lock import file_lock
from core.paths import FAILED_NAME, SUBMISSION_NAME, WARNINGS_NAME, WINDOWS_NAME
from predict.inference import recordings
from predict.inference.recordings import RecordingTask, load_scorer
from predict.inference.run_loader import load_run
from predict.inference.score_cache import cached_recording, score_cache_dir
from predict.run import main
from preprocess.audio.isolated import decoder_limits
from recipe import Prediction
from tests.predict.conftest import TinyRun
from tests.processes import children_of, is_running
from train.evaluate.score_table import read_scores

ROOT = Path(__file__).parents[2]
WARNINGS = "error,ignore::RuntimeWarning:runpy"
"""What sandboxes that fail import first includes the module that they then run."""
MAX_END_S = 2.0
"""From Ctrl-C to the last word of the command; the interpreter then takes a second on a busy machine."""


@pytest.fixture
def field(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """The run's test recordings, some in a folder of their own, and one that cannot be read."""
    folder = tmp_path / "field trip"
    (folder / "day 2").mkdir(parents=True)
    for number in range(6, 12):
        recording = Path(tiny_run.table["path"].iloc[number])
        (folder / ("day 2" if number > 8 else "") / f"{number:02}.wav").write_bytes(recording.read_bytes())
    (folder / "broken.mp3").write_bytes(b"no sound")
    return folder


def test_recordings_score_as_the_same_clips_of_a_dataset(tiny_run: TinyRun, field: Path) -> None:
    main(tiny_run.arguments)
    main([*tiny_run.arguments, "--input", str(field), "--jobs", "2"])
    folder, of_dataset = tiny_run.run_paths.input_dir(field), tiny_run.run_paths.submission_dir
    found, expected = read_scores(folder / SUBMISSION_NAME), read_scores(of_dataset / SUBMISSION_NAME)
    assert found.clips == ["06.wav", "07.wav", "08.wav", "day 2/09.wav", "day 2/10.wav", "day 2/11.wav"]
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    times = ["start_s", "end_s", "label"]
    windows, expected_windows = (pd.read_csv(each / WINDOWS_NAME) for each in (folder, of_dataset))
    pd.testing.assert_frame_equal(windows[times], expected_windows[times])
    assert pd.read_csv(folder / FAILED_NAME)["clip"].tolist() == ["broken.mp3"]


def test_an_input_called_null_is_no_absent_input(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="null is not there"):
        main([*tiny_run.arguments, "--input", "null"])
    assert not tiny_run.run_paths.submission_csv.exists()


def test_what_was_read_in_part_is_told_also_from_the_cache(
    tiny_run: TinyRun, field: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, sample_rate_hz = soundfile.read(tiny_run.table["path"].iloc[6], dtype="float32")
    soundfile.write(field / "cut.flac", np.tile(sound, 40), sample_rate_hz)
    content = (field / "cut.flac").read_bytes()
    (field / "cut.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(field / "opposite.wav", np.stack([sound, -sound], axis=1), sample_rate_hz)
    for _ in range(2):
        main([*tiny_run.arguments, "--input", str(field), "--jobs", "1"])
        assert "2 recordings are to be checked (cut.flac: it breaks off at" in capsys.readouterr().err
        table = pd.read_csv(tiny_run.run_paths.input_dir(field) / WARNINGS_NAME)
        assert table["clip"].tolist() == ["cut.flac", "opposite.wav"]
        assert "breaks off at" in table["warning"][0]
        assert "features.channel" in table["warning"][1]


def test_two_at_once_of_one_run_are_refused(tiny_run: TinyRun, field: Path) -> None:
    arguments = [*tiny_run.arguments, "--input", str(field / "06.wav"), "--jobs", "1"]
    with (
        file_lock(tiny_run.run_paths.run_dir / "score_cache" / ".lock", "make predict"),
        pytest.raises(UserError, match="score_cache: another make predict INPUT= of run tiny is at work"),
    ):
        main(arguments)
    main(arguments)


@pytest.fixture
def read_only_cache(tiny_run: TinyRun) -> Iterator[Path]:
    """The run's cache on a disk that cannot be written; where none can be mounted the test is skipped, saying so."""
    cache = tiny_run.run_paths.cache
    for options in (["--bind", cache], ["-o", "remount,ro,bind"]):
        mounted = subprocess.run(["mount", *options, cache], capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted: {mounted.stderr.strip()}")
    yield cache
    subprocess.run(["umount", "-l", cache], check=True)


def test_a_run_on_a_disk_that_cannot_be_written_predicts(tiny_run: TinyRun, field: Path, read_only_cache: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (read_only_cache / "new").touch()
    for arguments in ([], ["--input", str(field), "--jobs", "1"]):
        main([*tiny_run.arguments, *arguments])
    folders = tiny_run.run_paths.submission_dir, tiny_run.run_paths.input_dir(field)
    of_dataset, found = (read_scores(folder / SUBMISSION_NAME).values for folder in folders)
    np.testing.assert_allclose(found, of_dataset, atol=1e-6)
    assert len(list((tiny_run.run_paths.submission_dir / "score_cache").glob("*/*.npz"))) == 6


def test_no_readable_recording_at_all_is_refused(tiny_run: TinyRun, field: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 1 recordings of .* could be read \(broken\.mp3: "):
        main([*tiny_run.arguments, "--input", str(field / "broken.mp3"), "--jobs", "1"])
    assert not tiny_run.run_paths.submissions.exists()


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


@pytest.fixture
def start(tiny_run: TinyRun, tmp_path: Path, faulty_decoders: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The command at a folder of three good recordings and then two of which decoders hang, once these do."""
    folder = tmp_path / "hanging"
    folder.mkdir()
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000)
    for name in ("a.wav", "b.wav", "c.wav", "hangs0.wav", "hangs3.wav"):
        soundfile.write(folder / name, sound, 8_000)
    processes: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONWARNINGS": WARNINGS},
            )
        )
        score_cache = tiny_run.run_paths.run_dir / "score_cache"
        wait_until(lambda: len(list(score_cache.glob("*/*.npz"))) == 3 or processes[-1].poll() is not None)
        assert processes[-1].poll() is None, processes[-1].communicate()
        time.sleep(0.5)  # so that the next one hangs
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_the_command_though_decoders_hang(
    tiny_run: TinyRun, tmp_path: Path, start: Callable[..., subprocess.Popen[str]], n_jobs: int
) -> None:
    variables = {"PY": sys.executable, "RUN": "tiny", "JOBS": n_jobs, "ARGS": " ".join(tiny_run.arguments)}
    source = tmp_path / "hanging"
    make = ["make", "-o", ".venv/.ready", "predict", *(f"{key}={value}" for key, value in variables.items())]
    process = start(*make, f"INPUT={source}")
    children = children_of(process)
    assert len(children) > n_jobs
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr
    printed = next(line for line in process.stderr if line.startswith("earmark: "))
    assert time.monotonic() - began < MAX_END_S
    assert printed.startswith("earmark: interrupted; what was finished of INPUT= is kept")
    assert "Traceback" not in process.communicate(timeout=30)[1]
    assert process.returncode != 0
    assert not any(map(is_running, children))
    for path in source.glob("hangs*"):
        path.rename(path.with_stem(f"no_longer_{path.stem}"))
    main([*tiny_run.arguments, "--input", str(source), "--jobs", "1"])
    assert len(read_scores(tiny_run.run_paths.input_dir(source) / SUBMISSION_NAME).clips) == 5


@pytest.mark.parametrize("of_dataset", [False, True])
def test_recordings_are_dealt_to_devices(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch, of_dataset: bool
) -> None:
    command = [*tiny_run.arguments, *([] if of_dataset else ["--input", str(field)]), "--jobs", "2"]
    folder = tiny_run.run_paths.submission_dir if of_dataset else tiny_run.run_paths.input_dir(field)
    monkeypatch.setattr("predict.inference.dataset_clips.BATCH_CLIPS", 2)
    main(command)
    here = [(folder / name).read_bytes() for name in (SUBMISSION_NAME, WINDOWS_NAME)]
    shutil.rmtree(tiny_run.run_paths.run_dir / "score_cache", ignore_errors=True)
    taken: list[str] = []
    take = DevicePool.take

    @contextmanager
    def record(pool: DevicePool) -> Iterator[str]:
        with take(pool) as name:
            taken.append(name)
            yield name

    monkeypatch.setattr(DevicePool, "take", record)
    main([*command, "--device", "cpu:0,cpu:1"])
    assert set(taken) == {"cpu:0", "cpu:1"} and len(taken) == (3 if of_dataset else 7)
    assert [(folder / name).read_bytes() for name in (SUBMISSION_NAME, WINDOWS_NAME)] == here


def test_a_cluster_is_for_recordings_of_no_dataset(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="--scheduler is for recordings of --input"):
        main([*tiny_run.arguments, "--scheduler", "tcp://127.0.0.1:9"])


def test_a_process_loads_the_networks_of_a_run_once_and_refuses_others(tiny_run: TinyRun, field: Path) -> None:
    prediction = Prediction(window_seconds=0.5, hop_seconds=0.25)
    run_dir, features = tiny_run.run_paths.run_dir, tiny_run.recipe.features
    run = load_run(run_dir, prediction)
    entry = cached_recording(score_cache_dir(run_dir / "score_cache", run), field / "06.wav")
    task = RecordingTask(entry, run_dir, prediction, features, decoder_limits(tiny_run.recipe.data), "cpu", 1)
    recordings._scorers.clear()
    assert load_scorer(task, torch.device("cpu")) is load_scorer(pickle.loads(pickle.dumps(task)), torch.device("cpu"))
    recordings._scorers.clear()
    tiny_run.write_network(fold=1, seed=1)
    with pytest.raises(UserError, match="has other networks now"):
        load_scorer(task, torch.device("cpu"))
