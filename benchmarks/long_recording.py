"""SCRIPT  Peak memory of a process that computes one long recording, and its frames against the whole at once.

python -m benchmarks.long_recording --hours 6
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from benchmarks.config import ROOT
from benchmarks.timing import print_heading
from preprocess.audio.decode import decode_blocks
from preprocess.frames import build_transform, compute_frames
from recipe import Features


def write_long(path: Path, hours: float) -> None:
    """Noise and tones at 44.1 kHz, 16 bit, written in blocks."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 44_100, 1, "PCM_16", format="RF64") as file:
        for minute in range(round(60 * hours)):
            tone = np.sin(2 * np.pi * (200 + minute) * np.arange(60 * 44_100) / 44_100)
            file.write(0.2 * tone + 0.02 * random.standard_normal(len(tone)))


def peak_of_process(features: Features, path: Path, shard: Path) -> int:
    """Peak bytes of a process that computes one recording."""
    script = (
        "from recipe import Features; from preprocess.build.shard_task import ClipJob, append_clip\n"
        f"append_clip(ClipJob('long', {str(path)!r}), {str(shard)!r}, 0, {features!r})\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    shard.touch()
    completed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    return int(completed.stdout) * 1024


def bench_memory(folder: Path, hours: float) -> None:
    """Peak memory of a long recording that is decoded, resampled and transformed; frames against the whole at once."""
    path = folder / "long.wav"
    write_long(path, hours)
    for name, features in (
        ("resampled", Features(sample_rate_hz=32_000)),
        ("trimmed, top_db", Features(trim_top_db=60.0, top_db=80.0, min_seconds=1.0)),
    ):
        peak = peak_of_process(features, path, folder / "long.h5")
        print(f"| peak of a process, {hours:g} h, {name} | {peak / 1e6:.0f} MB | | | < 400 MB |", flush=True)
    if hours <= 1:
        features = Features(sample_rate_hz=32_000)
        at_once = compute_frames(np.concatenate(list(decode_blocks(path, features.sample_rate_hz))), features)
        blocks = np.concatenate(list(build_transform(features)(decode_blocks(path, features.sample_rate_hz))))
        worst_db = np.abs(blocks - at_once).max()
        print(f"| its frames in blocks against the whole at once | {worst_db:.1g} dB | | | <= 1e-3 dB |", flush=True)


def main() -> None:
    """Write the recording, and compute it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.5, help="Length of the recording.")
    print_heading()
    with TemporaryDirectory() as folder:
        bench_memory(Path(folder), parser.parse_args().hours)


if __name__ == "__main__":
    main()
