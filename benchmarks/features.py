"""SCRIPT  make features against what one would otherwise use: ratios, each of two times taken in one run.

    python -m benchmarks.features

Needs a machine with nothing else to do, and recordings in --data. `--only jobs,load` runs some of it.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from benchmarks.config import FEATURES, RECORDINGS, ROOT
from benchmarks.timing import min_time, print_heading, reexec_as_worker, report, report_turns, time_interleaved
from core.parallel import run_parallel
from preprocess.audio.decode import decode_blocks
from preprocess.audio.isolated import decoder_limits
from preprocess.build.plan import ReusableRows, split_into_tasks
from preprocess.build.shard_task import ClipJob, ShardTask, compute_shards
from preprocess.frames import build_transform
from preprocess.frames.framing import Samples
from preprocess.store.encoding import encoding_for, quantise
from preprocess.store.file_identity import stat_fingerprint
from preprocess.store.schema import features_digest
from preprocess.store.writer import write_store
from recipe import Data
from tests.row_sources import row_source_of
from train.data.frame_bank import load_frame_bank

KEYS = ["--features.n_fft", "2560", "--features.hop_length", "345", "--features.top_db", "80"]
LIBROSA_SCRIPT = """
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


STEP_SETS = ("vorbis1", "vorbis2", "wav1", "wav2", "wavs2")
"""Recordings of the whole step, and the number of its jobs."""


def decode(path: Path) -> Samples:
    """All of a recording at 44.1 kHz."""
    return np.concatenate(list(decode_blocks(path, 44_100)))


def link_recordings(paths: list[Path], folder: Path) -> Path:
    """A new folder of links to recordings, in a folder a label."""
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
    for number, path in enumerate(paths):
        (folder / "ab"[number % 2] / path.name).symlink_to(path)
    return folder


def bench_step(paths: list[Path], folder: Path, sets: Collection[str] = STEP_SETS, n_turns: int = 4) -> None:
    """The whole step against the librosa script, start-up and writing included; as many WAV files as in ESC-50, too."""
    wavs: list[Path] = []
    (folder / "wav").mkdir()
    for path in paths:
        wavs += [folder / "wav" / f"{path.stem}-{copy}.wav" for copy in range(5)]
        soundfile.write(wavs[-5], decode(path), 44_100)
        for copy in wavs[-4:]:
            copy.hardlink_to(wavs[-5])
    recordings_of = {"vorbis": paths, "wav": wavs[::5], "wavs": wavs}
    script, cache = folder / "librosa_script.py", folder / "cache"
    script.write_text(LIBROSA_SCRIPT)
    for name in sets:
        recordings, n_jobs = recordings_of[name[:-1]], name[-1]
        where = ["--data.folder", str(link_recordings(recordings, folder / name)), "--cache", str(cache)]
        commands = [
            ["-m", "preprocess.features", *where, "--name", "bench", "--jobs", n_jobs, *KEYS],
            [str(script), str(folder / "librosa_script.npz"), n_jobs, *map(str, recordings)],
        ]
        turns = []
        for _ in range(n_turns):
            shutil.rmtree(cache, ignore_errors=True)
            turns.append([min_time(partial(run_python, command), 1) for command in commands])
        ours, theirs = zip(*turns, strict=True)
        claim = {"vorbis1": ">= 1.5", "vorbis2": ">= 1.7"}.get(name, ">= 2")
        report_turns(f"make features, {len(recordings)} x {name}", ours, theirs, "librosa script", claim)


def run_python(arguments: Sequence[str]) -> None:
    """Run Python at the project's root."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)


def compute_all(paths: list[Path]) -> None:
    """Decode, transform and convert to what is stored, and no more."""
    transform, encoding = build_transform(FEATURES), encoding_for(FEATURES)
    for path in paths:
        for frames in transform(decode_blocks(path, 44_100)):
            quantise(frames, encoding)


def compute_store(paths: list[Path], folder: Path, n_jobs: int) -> float:
    """Seconds of sandboxes that have started, from the first task to the store on the disk."""
    planned = {path.name: ClipJob(path.name, str(path), source=stat_fingerprint(str(path))) for path in paths}
    reusable, limits = ReusableRows(FEATURES, planned), decoder_limits(Data())
    first = (planned[paths[0].name],) * 4
    with TemporaryDirectory(dir=folder) as work_dir:

        def tasks(name: str, parts: Iterable[tuple[ClipJob, ...]]) -> Iterator[ShardTask]:
            for number, clips in enumerate(parts):
                yield ShardTask(
                    Path(work_dir) / f"{name}{number}.shard", clips, FEATURES, features_digest(FEATURES), limits
                )

        list(run_parallel(compute_shards, tasks("warm", [first] * n_jobs), n_jobs))
        began = time.perf_counter()
        parts = split_into_tasks(planned.values(), n_jobs)
        for result in chain.from_iterable(run_parallel(compute_shards, tasks("", parts), n_jobs)):
            reusable.add_rows(result.shard, result.rows)
        write_store(Path(work_dir) / "features.h5", FEATURES, encoding_for(FEATURES), reusable.ordered_row_sources())
        return time.perf_counter() - began


def bench_jobs(paths: list[Path], folder: Path) -> None:
    """Two running sandboxes against one, and what scheduling and writing cost; two bare processes show the most."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        halves = [paths[0::2], paths[1::2]]
        list(pool.map(compute_all, [paths[:4], paths[:4]]))
        turns = [
            (
                compute_store(paths, folder, 1),
                compute_store(paths, folder, 2),
                min_time(partial(compute_all, paths), 1),
                min_time(lambda: list(pool.map(compute_all, halves)), 1),
            )
            for _ in range(8)
        ]
    one, two, bare_one, bare_two = zip(*turns, strict=True)
    report_turns(f"{len(paths)} clips, two running sandboxes", two, one, "one", ">= 1.8")
    report_turns("two processes that only compute", bare_two, bare_one, "one", "")
    for name, ours, bare in (("one sandbox", one, bare_one), ("two sandboxes", two, bare_two)):
        report_turns(
            f"decoding, transforming and converting alone, in the time of {name}", ours, bare, "of it", ">= 0.9"
        )


def bench_decode(_: list[Path], folder: Path) -> None:
    """Half a minute of stereo to mono, against librosa.load at the recording's own rate."""
    import librosa

    noise = np.cumsum(np.random.default_rng(0).standard_normal((30 * 44_100, 2)), axis=0) * 1e-5
    for form, subtype in (("WAV", "PCM_16"), ("WAV", "PCM_24"), ("FLAC", "PCM_16")):
        path = folder / f"stereo.{form.lower()}"
        soundfile.write(path, noise, 44_100, subtype, format=form)
        ours = min_time(partial(decode, path))
        report(
            f"decoding 30 s of stereo, {form} {subtype}",
            ours,
            min_time(partial(librosa.load, path, sr=None)),
            "librosa",
            "",
        )


def bench_load(_: list[Path], folder: Path) -> None:
    """Reading a store of half a gigabyte into memory, as make train does."""
    frames = np.random.default_rng(0).integers(0, 1 << 14, (2_000_000, 128), np.uint16).view(np.float16)
    starts = range(0, len(frames), 400)

    row_sources = [row_source_of(frames[at : at + 400], folder, f"{at}.wav", duration_s=5) for at in starts]
    store_path, raw_path = folder / "load.h5", folder / "load.raw"
    write_store(store_path, FEATURES, encoding_for(FEATURES), row_sources)
    frames.tofile(raw_path)
    names = [row_source.row.clip for row_source in row_sources]
    ours, raw = time_interleaved(
        lambda: load_frame_bank(store_path, FEATURES, names, "cpu"),
        lambda: np.fromfile(raw_path, np.float16),
        n_times=5,
    )
    report("loading features.h5 as training does, every digest checked", ours, raw, "numpy.fromfile", ">= 0.4")


def bench_idle(_: list[Path], folder: Path) -> None:
    """make features for 10,000 clips when there is nothing to do."""
    for label in ("a", "b"):
        (folder / "idle" / label).mkdir(parents=True)
    soundfile.write(folder / "tiny.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 22_050), 44_100)
    for number in range(10_000):
        (folder / "idle" / "ab"[number % 2] / f"{number}.wav").hardlink_to(folder / "tiny.wav")
    where = ["--data.folder", str(folder / "idle"), "--cache", str(folder / "cache"), "--name", "idle"]
    run = partial(run_python, ["-m", "preprocess.features", *where])
    run()
    print(f"| nothing to do, 10,000 clips | {min_time(run, 3):.2f} s | | | < 3 s |")


def main() -> None:
    """Run the benchmarks asked for, in the environment of a sandbox."""
    reexec_as_worker("benchmarks.features")
    benches: dict[str, Callable[[list[Path], Path], None]] = {
        "step": bench_step,
        "jobs": bench_jobs,
        "decode": bench_decode,
        "load": bench_load,
        "idle": bench_idle,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=RECORDINGS, help="Recordings.")
    parser.add_argument("--only", default=",".join(benches), help="Benchmarks to run.")
    parser.add_argument("--sets", default=",".join(STEP_SETS), help="What step runs on.")
    parser.add_argument("--turns", type=int, default=4, help="Of step.")
    options = parser.parse_args()
    benches["step"] = partial(bench_step, sets=options.sets.split(","), n_turns=options.turns)
    paths = sorted(path for path in options.data.absolute().rglob("*") if path.is_file())
    print_heading()
    for name in options.only.split(","):
        with TemporaryDirectory() as folder:
            benches[name](paths, Path(folder))


if __name__ == "__main__":
    main()
