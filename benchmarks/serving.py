"""SCRIPT make serve against the handler one writes: librosa and the same networks, in FastAPI.

    python -m benchmarks.serving

Needs a machine with nothing else to do, and recordings in --data. Networks are untrained; servers take turns.
"""

from core.entrypoint import run_script

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import numpy as np
import psutil
import soundfile
import torch

from benchmarks.config import FEATURES, RECORDINGS, ROOT
from benchmarks.random_store import MEAN_DB, STD_DB
from benchmarks.timing import print_heading, report_turns
from core.paths import RunPaths
from preprocess.store.encoding import encoding_for
from recipe import Recipe, as_dict
from train.networks.factory import build_network_from_recipe
from train.runs.checkpoint import Checkpoint, save_checkpoint

N_LABELS, N_NETWORKS = 50, 2
LONG_MINUTES = 5
KEYS = ["--prediction.window_seconds", "3", "--prediction.hop_seconds", "1", "--name", "bench"]
FASTAPI_SERVER = """
import io, sys, librosa, numpy as np, torch, uvicorn
from pathlib import Path
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from predict.inference.run_loader import load_run
from recipe import Prediction

run = load_run(Path(sys.argv[1]), Prediction(window_seconds=3, hop_seconds=1))
networks = [network for fold in run.folds.values() for network in fold]
app = FastAPI()

def predict(body):
    sound, rate = librosa.load(io.BytesIO(body), sr=44100)
    power = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=2560, hop_length=345, n_mels=128, fmin=20)
    frames = torch.from_numpy(librosa.power_to_db(power).T)
    window, hop = round(3 * rate / 345), round(rate / 345)
    starts = range(0, max(len(frames) - window, 0) + 1, hop)
    windows = torch.stack([frames[start : start + window] for start in starts])
    with torch.inference_mode():
        scores = torch.stack([network(windows).sigmoid() for network in networks]).mean(0)
    return dict(zip(run.labels, scores.mean(0).tolist()))

@app.post("/tag")
async def tag(request: Request):
    return await run_in_threadpool(predict, await request.body())

uvicorn.run(app, port=0)
"""


def write_run(cache: Path) -> Path:
    """The folder of a run of untrained networks."""
    recipe, encoding = Recipe("bench", features=FEATURES), encoding_for(FEATURES)
    run_dir = RunPaths(cache, cache, "bench", "bench").run_dir
    for fold in range(N_NETWORKS):
        torch.manual_seed(fold)
        network = build_network_from_recipe(recipe, encoding.n_bins, N_LABELS, MEAN_DB, STD_DB)
        checkpoint = Checkpoint(
            network=network.state_dict(),
            recipe=as_dict(recipe),
            labels=[f"label {index}" for index in range(N_LABELS)],
            n_bins=encoding.n_bins,
            frames_per_second=encoding.frames_per_second,
            fold=fold,
            seed=0,
            epoch=1,
            score=0.0,
        )
        save_checkpoint(run_dir / f"fold{fold}" / "best.pt", checkpoint)
    return run_dir


@contextmanager
def run_server(command: Sequence[str]) -> Iterator[tuple[int, psutil.Process]]:
    """The port and the process of a server while it runs."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        port = next(int(found[1]) for line in process.stdout if (found := re.search(r"http://127.0.0.1:(\d+)", line)))
        Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would hold the server up
        yield port, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def request_tag(connection: HTTPConnection, recording: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a recording."""
    connection.request("POST", "/tag?windows=false", recording)
    response = connection.getresponse()
    return response.status, response.read()


def request_tags(port: int, recordings: Sequence[bytes]) -> None:
    """Have recordings tagged over one connection, one after the other."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        for recording in recordings:
            status, body = request_tag(connection, recording)
            if status != 200:
                raise RuntimeError(f"status {status}: {body.decode()}")


def memory_mb(process: psutil.Process) -> tuple[float, float, int]:
    """Resident memory of a process, of its children, and their number."""
    children = process.children(recursive=True)
    own, theirs = (sum(each.memory_info().rss for each in some) / 2**20 for some in ([process], children))
    return own, theirs, len(children)


def cpu_s(process: psutil.Process) -> np.ndarray:
    """CPU time of a process, and of its children."""
    groups = [process], process.children(recursive=True)
    return np.array([sum(sum(each.cpu_times()[:2]) for each in some) for some in groups])


def soak(port: int, process: psutil.Process, recordings: Sequence[bytes], n_clients: int, seconds: float) -> None:
    """Print what becomes of the requests of many clients, each of which sends its own recording again and again."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        alone = [json.loads(request_tag(connection, recording)[1])["scores"] for recording in recordings]
    ends_s = time.monotonic() + seconds

    def ask(client: int) -> Counter[str]:
        answers = Counter[str]()
        index = client % len(recordings)
        with closing(HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
            while time.monotonic() < ends_s:
                status, body = request_tag(connection, recordings[index])
                answers[str(status)] += 1
                if status == 200:
                    scores = json.loads(body)["scores"]
                    answers["mixed up"] += any(abs(scores[label] - alone[index][label]) > 1e-4 for label in scores)
                else:
                    time.sleep(0.1)
        return answers

    with ThreadPoolExecutor(n_clients) as clients:
        futures = [clients.submit(ask, client) for client in range(n_clients)]
        for quarter in range(1, 5):  # after the first, every decoder has been started
            time.sleep(max(ends_s - seconds * (1 - quarter / 4) - time.monotonic(), 0))
            own_mb, theirs_mb, n_decoders = memory_mb(process)
            print(
                f"{n_clients} clients, after {quarter * seconds / 4:g} s: server {own_mb:.0f} MB, "
                f"{n_decoders} decoders {theirs_mb:.0f} MB, together {own_mb + theirs_mb:.0f} MB",
                flush=True,
            )
        answers = sum((future.result() for future in futures), Counter[str]())
    print(f"{n_clients} clients for {seconds:g} s: {dict(answers)}")


def time_requests(port: int, recordings: Sequence[bytes], n_clients: int) -> float:
    """How long it takes until all have their answers."""
    began = time.perf_counter()
    with ThreadPoolExecutor(n_clients) as clients:
        list(clients.map(partial(request_tags, port), [recordings[client::n_clients] for client in range(n_clients)]))
    return time.perf_counter() - began


def report_cpu_time(
    n_requests: int, before_s: tuple[np.ndarray, np.ndarray], processes: tuple[psutil.Process, psutil.Process]
) -> None:
    """Print the CPU time of a request, where it went since `before_s`."""
    ours, theirs = (1e3 * (cpu_s(process) - s) / n_requests for process, s in zip(processes, before_s, strict=True))
    print(f"  CPU time a request: server {ours[0]:.1f} ms, decoders {ours[1]:.1f} ms; theirs {theirs.sum():.1f} ms")


def make_noise(minutes: float) -> bytes:
    """A long recording."""
    with TemporaryDirectory() as folder:
        sound = 0.1 * np.random.default_rng(0).standard_normal(round(minutes * 60 * 44_100))
        soundfile.write(Path(folder) / "noise.flac", sound, 44_100)
        return (Path(folder) / "noise.flac").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=RECORDINGS, help="Recordings.")
    parser.add_argument("--rounds", type=int, default=5, help="Turns of each server.")
    parser.add_argument("--soak_s", type=float, default=60.0, help="How long 32 clients ask at once.")
    options = parser.parse_args()
    paths = sorted(path for path in options.data.absolute().rglob("*") if path.is_file())[:40]
    short, long = [path.read_bytes() for path in paths], [make_noise(LONG_MINUTES)]
    sets = [
        (f"{len(short)} recordings, one client", short, 1),
        (f"{len(short)} recordings, four clients", short, 4),
        (f"a recording of {LONG_MINUTES} minutes", long, 1),
    ]
    print_heading()
    with TemporaryDirectory() as folder:
        run_dir = write_run(Path(folder))
        (Path(folder) / "fastapi_server.py").write_text(FASTAPI_SERVER)
        where = ["--cache", folder, "--submissions", folder, "--port", "0"]
        fastapi_server = run_server([f"{folder}/fastapi_server.py", str(run_dir)])
        with (
            run_server(["-m", "serve.run", *KEYS, *where]) as (ours, process),
            fastapi_server as (theirs, peer),
        ):
            for name, recordings, n_clients in sets:
                turns, before_s = list[list[float]](), list[tuple[np.ndarray, np.ndarray]]()
                for _ in range(options.rounds + 1):
                    before_s.append((cpu_s(process), cpu_s(peer)))
                    turns.append([time_requests(port, recordings, n_clients) for port in (ours, theirs)])
                our_s, their_s = zip(*turns[1:], strict=True)  # the first warms up
                report_turns(name, our_s, their_s, "FastAPI + librosa server", "")
                report_cpu_time(options.rounds * len(recordings), before_s[1], (process, peer))
            soak(ours, process, short, 32, options.soak_s)


if __name__ == "__main__":
    run_script(main)
