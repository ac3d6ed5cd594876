"""What the benchmarks of features compute, and of which recordings."""

from pathlib import Path

from recipe import Features

ROOT = Path(__file__).parent.parent
RECORDINGS = ROOT.parent / "shared/data/esc10/audio"
FEATURES = Features(n_fft=2560, hop_length=345, n_bins=128, top_db=80.0)
"""128 mels of 44.1 kHz; top_db as librosa.power_to_db has it unless told otherwise."""
