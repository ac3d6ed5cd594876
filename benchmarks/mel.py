"""SCRIPT  The mel stage against librosa's, against the bare FFT of the same frames, and on a GPU.

    python -m benchmarks.mel

Needs a machine with nothing else to do, and recordings in --data.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.config import FEATURES, RECORDINGS
from benchmarks.timing import min_time, print_heading, reexec_as_worker, report, time_interleaved
from preprocess.audio.decode import decode
from preprocess.frames.framing import Frames, Samples
from preprocess.frames.kinds import Transform, build_transform


def logmel(transform: Transform, sound: Samples) -> list[Frames]:
    """All frames of a sound."""
    return list(transform([sound]))


def bench_mel(paths: list[Path]) -> None:
    """The mel stage alone, of noise and of recordings, with librosa's and with the bare FFT of the same frames."""
    import ducc0
    import librosa
    import scipy.fft

    def librosas(sound: Samples, top_db: float | None) -> object:
        power = librosa.feature.melspectrogram(
            y=sound, sr=44_100, n_fft=FEATURES.n_fft, hop_length=FEATURES.hop_length, n_mels=128, fmin=20
        )
        return librosa.power_to_db(power, top_db=top_db)

    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * 44_100)).astype(np.float32)
    for name, sounds in (("noise", [noise]), ("recordings", [decode(path, 44_100) for path in paths[::20]])):
        for top_db in (80.0, None):
            transform = build_transform(replace(FEATURES, top_db=top_db))
            elapsed_s, worst_db = np.zeros(4), 0.0
            for sound in sounds:
                padded = np.pad(sound, FEATURES.n_fft // 2)
                views = np.lib.stride_tricks.sliding_window_view(padded, FEATURES.n_fft)[:: FEATURES.hop_length]
                contiguous = np.ascontiguousarray(views)
                elapsed_s += time_interleaved(
                    partial(logmel, transform, sound),
                    partial(librosas, sound, top_db),
                    partial(scipy.fft.rfft, contiguous),
                    partial(ducc0.fft.r2c, contiguous, axes=(1,), nthreads=1),
                    n_times=30,
                )
                frames = np.concatenate(list(transform([sound])))
                frames = np.maximum(frames, frames.max() - (top_db or np.inf))
                worst_db = max(worst_db, float(np.abs(frames - np.asarray(librosas(sound, top_db)).T).max()))
            what = f"mel stage, {name}, top_db {top_db}, within {worst_db:.1g} dB"
            ours, theirs, bare, fast = elapsed_s / len(sounds)
            report(what, ours, theirs, "librosa", ">= 2.2")
            report(what, ours, bare, "bare scipy.fft, float32", ">= 0.5")
            report(what, ours, fast, "bare ducc0.fft, float32", "")


def bench_gpu(paths: list[Path]) -> None:
    """The mel stage of a decoded recording on the GPU against the CPU's, transfers included."""
    if not torch.cuda.is_available():
        print("| mel stage on a GPU | no GPU here | | | |", flush=True)
        return
    sound = decode(paths[0], 44_100)
    on_cpu, on_gpu = build_transform(FEATURES), build_transform(FEATURES, "cuda")
    ours, theirs = (min_time(partial(logmel, transform, sound), 30) for transform in (on_gpu, on_cpu))
    report("mel stage on a GPU", ours, theirs, "one core", "> 1")


def main() -> None:
    """Run both in the environment of a worker."""
    reexec_as_worker("benchmarks.mel")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=RECORDINGS, help="Recordings.")
    paths = sorted(path for path in parser.parse_args().data.rglob("*") if path.is_file())
    print_heading()
    bench_mel(paths)
    bench_gpu(paths)


if __name__ == "__main__":
    main()
