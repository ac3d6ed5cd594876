"""A trained run in miniature: seconds of tones, their store and table of clips, and networks nobody trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.paths import Places
from preprocess.dataset.clip_table import write_clips
from preprocess.dataset.labels import write_vocabulary
from preprocess.frames.kinds import frames_of
from preprocess.store.reader import open_store
from preprocess.store.schema import Coding, Row, digest_of
from preprocess.store.writer import Piece, write_store
from recipe import Features, Network, Recipe, as_dict
from recipe.bounds import Section
from train.networks.factory import network_of
from train.runs.checkpoint import Checkpoint, save_checkpoint

LABELS = ["low", "mid, dle", "<script>alert('高い')</script>"]
FEATURES = Features(rate_hz=8_000, n_fft=256, hop_samples=100, n_bins=24, fmax_hz=4_000.0)
FRAMES_PER_SECOND = 80.0
WINDOW = ["--prediction.window_seconds", "0.5", "--prediction.hop_seconds", "0.25"]


@dataclass(frozen=True)
class Home:
    """Where the run is, and how a command line names it."""

    places: Places
    recipe: Recipe
    table: pd.DataFrame

    @property
    def arguments(self) -> list[str]:
        cache, submissions = str(self.places.cache), str(self.places.submissions)
        return ["--name", "tiny", "--cache", cache, "--submissions", submissions, *WINDOW]

    def write_store(
        self, unreadable: Sequence[str] = (), start_s: float = 0.0, louder_db: Sequence[float] = ()
    ) -> None:
        """Frames of every recording but the `unreadable` ones, which go to failed.csv; louder ones as its copies."""
        pieces = []
        for clip, path in zip(self.table["clip"], self.table["path"], strict=True):
            if clip not in unreadable:
                gains_db = enumerate([0.0, *louder_db])
                pieces += [make_piece(clip, Path(path), start_s, variant, gain_db) for variant, gain_db in gains_db]
        write_store(self.places.store, FEATURES, Coding(np.dtype("float16"), 24, FRAMES_PER_SECOND), pieces)
        reasons = pd.DataFrame({"clip": [*unreadable, "another's.wav"], "reason": "the file is empty"})
        reasons.to_csv(self.places.failed_csv, index=False)

    def write_table(self, table: pd.DataFrame) -> None:
        """Another table of clips."""
        write_clips(self.places.clips_csv, table)

    def give_test_labels(self, label: str) -> None:
        """A table of clips in which every test clip has `label`."""
        self.write_table(self.table.assign(labels=self.table["labels"].where(self.table["split"] != "test", label)))

    def frames(self, index: int) -> torch.Tensor:
        """The stored frames [n_frames, n_bins] of a clip of the table."""
        with open_store(self.places.store) as store:
            return torch.from_numpy(store.read(index)).float()

    def write_network(self, fold: int, seed: int = 0, labels: Sequence[str] = LABELS, **sections: Section) -> None:
        """An untrained network as the best of a fold; `sections` of its recipe are other than the home's."""
        recipe = replace(self.recipe, **sections)  # type: ignore[arg-type]
        torch.manual_seed(10 * fold + seed)
        network = network_of(recipe, 24, len(labels), mean=-40.0, std=20.0)
        last = network.head[-1]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.normal_(last.weight)
        folder = f"fold{fold}" + (f"_seed{seed}" if seed else "")
        checkpoint = Checkpoint(
            network=network.state_dict(),
            recipe=as_dict(recipe),
            labels=list(labels),
            n_bins=24,
            frames_per_second=FRAMES_PER_SECOND,
            fold=fold,
            seed=seed,
            epoch=1,
            score=0.5,
        )
        save_checkpoint(self.places.run_home / folder / "best.pt", checkpoint)


def make_piece(clip: str, path: Path, start_s: float, variant: int = 0, gain_db: float = 0.0) -> Piece:
    """The frames of a recording as one piece of a store."""
    samples, rate_hz = soundfile.read(path, dtype="float32")
    frames = (frames_of(samples[round(start_s * rate_hz) :], FEATURES) + gain_db).astype(np.float16)
    row = Row(clip, variant, "", start_s, len(samples) / rate_hz, len(frames), digest_of(frames))
    return Piece.in_memory(row, frames, path)


def make_home(folder: Path) -> Home:
    """Six training clips in two folds, six test clips of all lengths, and the networks of both folds."""
    random = np.random.default_rng(0)
    rows = []
    for number, seconds in enumerate([1.0] * 6 + [0.1, 0.4875, 0.5, 0.5125, 1.3, 2.0]):
        training, label = number < 6, LABELS[number % 3]
        clip = f'{"train" if training else "test"}{number} <b>"é"</b>.wav'
        path = folder / "sound" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        time_s = np.arange(round(seconds * 8_000)) / 8_000
        tone = 0.3 * np.sin(2 * np.pi * 300 * 3.0 ** (number % 3) * time_s)
        soundfile.write(path, tone + 0.01 * random.standard_normal(len(time_s)), 8_000)
        fold, split = (number % 2, "train") if training else (-1, "test")
        rows.append((clip, str(path), label, fold, split, str(number), "curated"))
    table = pd.DataFrame(rows, columns=["clip", "path", "labels", "fold", "split", "group", "trust"])
    places = Places(folder / "cache", folder / "submissions", "tiny", "tiny")
    home = Home(places, Recipe("tiny", features=FEATURES, network=Network(dropout=0.0)), table)
    write_clips(places.clips_csv, table)
    write_vocabulary(places.labels_csv, LABELS)
    home.write_store()
    home.write_network(fold=0)
    home.write_network(fold=1)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A run in miniature of the test's own."""
    return make_home(tmp_path)
