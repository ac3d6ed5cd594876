"""SCRIPT  The mel stage against librosa's, and against the bare FFT of the same windows.

    python -m benchmarks.mel

Needs a machine with nothing else to do, and recordings in --data.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.config import FEATURES, RECORDINGS
from benchmarks.timing import print_heading, reexec_as_worker, report, time_interleaved
from preprocess.audio.decode import decode_blocks
from preprocess.frames import Transform, build_transform
from preprocess.frames.framing import Frames, Samples


def our_logmel(transform: Transform, sound: Samples) -> list[Frames]:
    """Blocks of our frames [n_frames, n_bins] of a sound."""
    return list(transform([sound]))


def librosa_logmel(sound: Samples) -> Frames:
    """librosa's frames [n_frames, n_bins] of the same features."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=sound, sr=44_100, n_fft=FEATURES.n_fft, hop_length=FEATURES.hop_length, n_mels=128, fmin=20
    )
    return np.asarray(librosa.power_to_db(power, top_db=None)).T


def bench_mel(paths: list[Path]) -> None:
    """The mel stage alone, of noise and of recordings, with librosa's and with the bare FFT of the same windows."""
    import ducc0
    import scipy.fft

    transform = build_transform(FEATURES)
    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * 44_100)).astype(np.float32)
    recordings = [np.concatenate(list(decode_blocks(path, 44_100))) for path in paths[::20]]
    for name, sounds in (("noise", [noise]), ("recordings", recordings)):
        elapsed_s, worst_db = np.zeros(4), 0.0
        for sound in sounds:
            padded = np.pad(sound, FEATURES.n_fft // 2)
            windows = np.lib.stride_tricks.sliding_window_view(padded, FEATURES.n_fft)[:: FEATURES.hop_length]
            contiguous = np.ascontiguousarray(windows)
            elapsed_s += time_interleaved(
                partial(our_logmel, transform, sound),
                partial(librosa_logmel, sound),
                partial(scipy.fft.rfft, contiguous),
                partial(ducc0.fft.r2c, contiguous, axes=(1,), nthreads=1),
                n_times=30,
            )
            frames = np.concatenate(our_logmel(transform, sound))
            worst_db = max(worst_db, float(np.abs(frames - librosa_logmel(sound)).max()))
        what = f"mel stage, {name}, within {worst_db:.1g} dB"
        ours, theirs, bare, fast = elapsed_s / len(sounds)
        report(what, ours, theirs, "librosa", ">= 2")
        report(what, ours, bare, "bare scipy.fft, float32", ">= 0.4")
        report(what, ours, fast, "bare ducc0.fft, float32", "")


def main() -> None:
    """Run it in the environment of a worker."""
    reexec_as_worker("benchmarks.mel")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=RECORDINGS, help="Recordings.")
    paths = sorted(path for path in parser.parse_args().data.rglob("*") if path.is_file())
    print_heading()
    bench_mel(paths)


if __name__ == "__main__":
    main()
