"""SCRIPT  make features against what one would otherwise use: ratios, each of two times taken in one run.

    python -m benchmarks.features --hours 6

Needs a machine with nothing else to do, and recordings in --data. `--only mel,load` runs some of it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch

from benchmarks.machine import describe_machine
from preprocess.coding import Frames, coding_of
from preprocess.crew import ENVIRONMENT, Crew
from preprocess.decode import Samples, decode, decode_blocks
from preprocess.frames import Transform, build_transform, frames_of
from preprocess.jobs import ClipJob, PartJob, source_stamp
from preprocess.plan import Done, Wanted, cut_into_parts
from preprocess.store import Row, Stored, digest_of, open_store
from preprocess.store_writer import Piece, write_store
from recipe import Features

ROOT = Path(__file__).parent.parent
FEATURES = Features(n_fft=2560, hop_samples=345, n_bins=128, top_db=80.0)
"""128 mels of 44.1 kHz; top_db as librosa.power_to_db has it unless told otherwise."""
KEYS = ["--features.n_fft", "2560", "--features.hop_samples", "345", "--features.top_db", "80"]
USUAL = """
import sys, librosa, numpy as np
from joblib import Parallel, delayed

def features(path):
    sound, rate = librosa.load(path, sr=44100)
    power = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=2560, hop_length=345, n_mels=128, fmin=20)
    return librosa.power_to_db(power).astype(np.float16)

if __name__ == "__main__":
    paths = sys.argv[3:]
    np.savez(sys.argv[1], *Parallel(n_jobs=int(sys.argv[2]))(delayed(features)(path) for path in paths))
"""


def best(work: Callable[[], object], n_times: int = 5) -> float:
    """Seconds of the fastest of some turns."""
    times = []
    for _ in range(n_times):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def race(*works: Callable[[], object], n_times: int) -> list[float]:
    """Seconds of the fastest turn of each, taken in turns: a machine's speed drifts."""
    return [min(times) for times in zip(*([best(work, 1) for work in works] for _ in range(n_times)), strict=True)]


def report(what: str, ours_s: float, theirs_s: float, against: str, claim: str) -> None:
    """A row: two times, and how often ours goes into theirs."""
    print(f"| {what} | {ours_s:.4g} s | {against} {theirs_s:.4g} s | {theirs_s / ours_s:.2f} | {claim} |", flush=True)


def logmel(transform: Transform, sound: Samples) -> list[Frames]:
    """All frames of a sound."""
    return list(transform([sound]))


def bench_mel(paths: list[Path], _: Path) -> None:
    """The mel stage alone, of noise and of recordings, with librosa's and with the bare FFT of the same frames."""
    import ducc0
    import librosa
    import scipy.fft

    def librosas(sound: Samples, top_db: float | None) -> object:
        power = librosa.feature.melspectrogram(
            y=sound, sr=44_100, n_fft=FEATURES.n_fft, hop_length=FEATURES.hop_samples, n_mels=128, fmin=20
        )
        return librosa.power_to_db(power, top_db=top_db)

    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * 44_100)).astype(np.float32)
    for name, sounds in (("noise", [noise]), ("recordings", [decode(path, 44_100) for path in paths[::20]])):
        for top_db in (80.0, None):
            transform = build_transform(Features(n_fft=2560, hop_samples=345, n_bins=128, top_db=top_db))
            ours = theirs = bare = fast = worst_db = 0.0
            for sound in sounds:
                padded = np.pad(sound, FEATURES.n_fft // 2)
                views = np.lib.stride_tricks.sliding_window_view(padded, FEATURES.n_fft)[:: FEATURES.hop_samples]
                contiguous = np.ascontiguousarray(views)
                ours += best(partial(logmel, transform, sound), 30)
                theirs += best(partial(librosas, sound, top_db), 15)
                bare += best(partial(scipy.fft.rfft, contiguous), 30)
                fast += best(partial(ducc0.fft.r2c, contiguous, axes=(1,), nthreads=1), 30)
                frames = np.concatenate(list(transform([sound])))
                frames = np.maximum(frames, frames.max() - (top_db or np.inf))
                worst_db = max(worst_db, float(np.abs(frames - np.asarray(librosas(sound, top_db)).T).max()))
            what = f"mel stage, {name}, top_db {top_db}, within {worst_db:.1g} dB"
            report(what, ours / len(sounds), theirs / len(sounds), "librosa", ">= 2.2")
            report(what, ours / len(sounds), bare / len(sounds), "bare scipy.fft, float32", ">= 0.5")
            report(what, ours / len(sounds), fast / len(sounds), "bare ducc0.fft, float32", "")


def bench_gpu(paths: list[Path], _: Path) -> None:
    """The mel stage of a decoded recording on the GPU against the CPU's, transfers included."""
    if not torch.cuda.is_available():
        print("| mel stage on a GPU | no GPU here | | | |", flush=True)
        return
    sound = decode(paths[0], 44_100)
    on_cpu, on_gpu = build_transform(FEATURES), build_transform(FEATURES, "cuda")
    ours, theirs = (best(partial(logmel, transform, sound), 30) for transform in (on_gpu, on_cpu))
    report("mel stage on a GPU", ours, theirs, "one core", "> 1")


def run_ours(paths: list[Path], folder: Path, n_jobs: int) -> None:
    """make features on a folder of its own."""
    with TemporaryDirectory(dir=folder) as home:
        for label in ("a", "b"):
            (Path(home) / "data" / label).mkdir(parents=True)
        for number, path in enumerate(paths):
            (Path(home) / "data" / "ab"[number % 2] / path.name).symlink_to(path)
        where = ["--data.folder", f"{home}/data", "--cache", f"{home}/cache", "--name", "bench", "--jobs", str(n_jobs)]
        command = [sys.executable, "-m", "preprocess.features", *where, *KEYS]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)


def run_usual(paths: list[Path], folder: Path, n_jobs: int) -> None:
    """The script one writes."""
    script = folder / "usual.py"
    script.write_text(USUAL)
    command = [sys.executable, str(script), str(folder / "usual.npz"), str(n_jobs), *map(str, paths)]
    subprocess.run(command, check=True)


def bench_step(paths: list[Path], folder: Path) -> None:
    """The whole step against the usual script, start-up and writing included; as many WAV files as ESC-50 has, too."""
    wavs: list[Path] = []
    (folder / "wav").mkdir()
    for path in paths:
        wavs += [folder / "wav" / f"{path.stem}-{copy}.wav" for copy in range(5)]
        soundfile.write(wavs[-5], decode(path, 44_100), 44_100)
        for copy in wavs[-4:]:
            copy.hardlink_to(wavs[-5])
    sets = [("Vorbis", paths, 1), ("Vorbis", paths, 2), ("WAV", wavs[::5], 1), ("WAV", wavs[::5], 2), ("WAV", wavs, 2)]
    for name, some, n_jobs in sets:
        ours, theirs = race(*(partial(run, some, folder, n_jobs) for run in (run_ours, run_usual)), n_times=2)
        claim = ">= 1.5" if name == "Vorbis" else ">= 2"
        report(f"make features, {len(some)} x {name}, {n_jobs} jobs", ours, theirs, "usual script", claim)


def transform_all(paths: list[Path]) -> None:
    """Decode and transform, and no more."""
    transform = build_transform(FEATURES)
    for path in paths:
        for _ in transform(decode_blocks(path, 44_100)):
            pass


def run_crew(paths: list[Path], folder: Path, n_jobs: int) -> float:
    """Seconds of workers that have started, from the first job to the store on the disk."""
    wanted = {path.name: Wanted(ClipJob(path.name, str(path)), source_stamp(str(path))) for path in paths}
    done = Done(FEATURES, wanted)
    with TemporaryDirectory(dir=folder) as home, Crew(FEATURES, n_jobs) as crew:
        warm = [PartJob(Path(home) / f"warm{job}.h5", (wanted[paths[0].name].job,) * 4) for job in range(n_jobs)]
        list(crew.compute(warm))
        names = (Path(home) / f"{number}.h5" for number in range(1 << 30))
        began = time.perf_counter()
        for wrote in crew.compute(list(cut_into_parts(wanted.values(), n_jobs, lambda: next(names)))):
            if wrote.part:
                done.take(wrote.part, check=False)
        write_store(Path(home) / "features.h5", FEATURES, coding_of(FEATURES), done.in_order())
        return time.perf_counter() - began


def bench_jobs(paths: list[Path], folder: Path) -> None:
    """Two running workers against one, and what scheduling and writing cost; bare processes show what two cores can."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        halves = [paths[0::2], paths[1::2]]
        list(pool.map(transform_all, [paths[:4], paths[:4]]))
        turns = [
            (
                run_crew(paths, folder, 1),
                run_crew(paths, folder, 2),
                best(partial(transform_all, paths), 1),
                best(lambda: list(pool.map(transform_all, halves)), 1),
            )
            for _ in range(4)
        ]
    one, two, bare_one, bare_two = map(min, zip(*turns, strict=True))
    report(f"{len(paths)} clips, two running workers", two, one, "one", ">= 1.8")
    report("two processes that only decode and transform", bare_two, bare_one, "one", "")
    for name, ours, bare in (("one worker", one, bare_one), ("two workers", two, bare_two)):
        report(f"decoding and transforming alone, in the time of {name}", ours, bare, "of it", ">= 0.9")


def bench_load(_: list[Path], folder: Path) -> None:
    """Reading a store of half a gigabyte into memory."""
    frames = np.random.default_rng(0).integers(0, 1 << 14, (2_000_000, 128), np.uint16).view(np.float16)
    starts = range(0, len(frames), 400)

    def slice_of(first: int, start: int, stop: int) -> Stored:
        return frames[first + start : first + stop]

    pieces = [
        Piece(Row(f"{at}.wav", 0, "1:1", 0, 5, 400, digest_of(frames[at : at + 400])), partial(slice_of, at), folder)
        for at in starts
    ]
    store_path, raw_path = folder / "load.h5", folder / "load.raw"
    write_store(store_path, FEATURES, coding_of(FEATURES), pieces)
    frames.tofile(raw_path)
    with open_store(store_path) as store:
        raw = best(lambda: np.fromfile(raw_path, np.float16))
        report(
            "loading features.h5", best(lambda: store.read_all(check_digests=False)), raw, "numpy.fromfile", ">= 0.8"
        )
        report("loading features.h5, every digest checked", best(store.read_all), raw, "numpy.fromfile", ">= 0.4")


def write_long(path: Path, hours: float) -> None:
    """Noise and tones at 44.1 kHz, 16 bit, written in blocks."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44_100, 1, "PCM_16", format="RF64") as file:
        for minute in range(round(60 * hours)):
            tone = np.sin(2 * np.pi * (200 + minute) * np.arange(60 * 44_100) / 44_100)
            file.write(0.2 * tone + 0.02 * random.standard_normal(len(tone)))


def peak_of_worker(features: Features, path: Path, part: Path) -> int:
    """Peak bytes of a process that computes one recording."""
    script = (
        "from pathlib import Path; from recipe import Features; from preprocess.worker import Worker\n"
        "from preprocess.jobs import ClipJob, PartJob\n"
        f"job = PartJob(Path({str(part)!r}), (ClipJob('long', {str(path)!r}),))\n"
        f"Worker({features!r}, lambda message: None).compute(job)\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout) * 1024


def bench_memory(folder: Path, hours: float) -> None:
    """Peak memory of a long recording that is decoded, resampled and transformed; frames against the whole at once."""
    path = folder / "long.wav"
    write_long(path, hours)
    for name, features in (
        ("resampled", Features(rate_hz=32_000)),
        ("trimmed, top_db", Features(trim_top_db=60.0, top_db=80.0, min_seconds=1.0)),
    ):
        peak = peak_of_worker(features, path, folder / "long.h5")
        print(f"| peak of a worker, {hours:g} h, {name} | {peak / 1e6:.0f} MB | | | < 400 MB |", flush=True)
    if hours <= 1:
        features = Features(rate_hz=32_000)
        whole = frames_of(decode(path, features.rate_hz), features)
        blocks = np.concatenate(list(build_transform(features)(decode_blocks(path, features.rate_hz))))
        worst_db = np.abs(blocks - whole).max()
        print(f"| its frames in blocks against the whole at once | {worst_db:.1g} dB | | | <= 1e-3 dB |", flush=True)


def bench_idle(_: list[Path], folder: Path) -> None:
    """make features for 10,000 clips when there is nothing to do."""
    for label in ("a", "b"):
        (folder / "idle" / label).mkdir(parents=True)
    soundfile.write(folder / "tiny.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 22_050), 44_100)
    for number in range(10_000):
        (folder / "idle" / "ab"[number % 2] / f"{number}.wav").hardlink_to(folder / "tiny.wav")
    where = ["--data.folder", str(folder / "idle"), "--cache", str(folder / "cache"), "--name", "idle"]
    run = partial(subprocess.run, [sys.executable, "-m", "preprocess.features", *where], cwd=ROOT, check=True)
    run(stderr=subprocess.DEVNULL)
    print(f"| nothing to do, 10,000 clips | {best(lambda: run(stderr=subprocess.DEVNULL), 3):.2f} s | | | < 3 s |")


def main() -> None:
    """Run the benchmarks asked for, in the environment of a worker."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        command = [sys.executable, "-m", "benchmarks.features", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | ENVIRONMENT)
    benches = {
        "mel": bench_mel,
        "gpu": bench_gpu,
        "step": bench_step,
        "jobs": bench_jobs,
        "load": bench_load,
        "idle": bench_idle,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/esc10/audio", help="Recordings.")
    parser.add_argument("--hours", type=float, default=0.5, help="Length of the long recording.")
    parser.add_argument("--only", default=",".join([*benches, "memory"]), help="Benchmarks to run.")
    options = parser.parse_args()
    paths = sorted(path for path in options.data.absolute().rglob("*") if path.is_file())
    print(f"{describe_machine(torch.device('cpu'))}, {os.cpu_count()} cores\n")
    print("| what | ours | against | ratio | claim |\n|---|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        with TemporaryDirectory() as folder:
            if name == "memory":
                bench_memory(Path(folder), options.hours)
            else:
                benches[name](paths, Path(folder))


if __name__ == "__main__":
    main()
