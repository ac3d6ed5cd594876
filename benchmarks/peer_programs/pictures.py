"""Log-mel spectrograms of a folder's recordings as grey pictures: what fast.ai and the notebook of 2019 train on."""

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from PIL import Image

SAMPLE_RATE_HZ, HOP_LENGTH, N_MELS = 44_100, 694, 128


def read_table(data: Path) -> pd.DataFrame:
    """ESC-50's ten free classes: columns filename, fold, category."""
    table = pd.read_csv(data / "meta" / "esc50.csv")
    return table[table["esc10"]].reset_index(drop=True)


def write_pictures(data: Path, folder: Path) -> pd.DataFrame:
    """The table with a column picture: PNGs [128, n_frames] in `folder`, each standardised and stretched by itself."""
    table, folder = read_table(data), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    table["picture"] = [str(folder / f"{Path(name).stem}.png") for name in table["filename"]]
    for name, picture in zip(table["filename"], table["picture"], strict=True):
        if not Path(picture).exists():
            Image.fromarray(compute_picture(data / "audio" / name)).save(picture)
    return table


def compute_picture(path: Path) -> np.ndarray:
    """uint8 [128, n_frames] of a recording without the silence at its ends, of 2 s at least."""
    sound, _ = librosa.load(path, sr=SAMPLE_RATE_HZ)
    sound, _ = librosa.effects.trim(sound)
    missing = max(0, 2 * SAMPLE_RATE_HZ - len(sound))
    sound = np.pad(sound, (missing // 2, missing - missing // 2))
    mel = librosa.feature.melspectrogram(
        y=sound, sr=SAMPLE_RATE_HZ, n_fft=20 * N_MELS, hop_length=HOP_LENGTH, n_mels=N_MELS, fmin=20
    )
    decibels = librosa.power_to_db(mel)
    span = max(float(np.ptp(decibels)), 1e-6)
    picture: np.ndarray = np.rint(255 * (decibels - decibels.min()) / span).astype(np.uint8)
    return picture
