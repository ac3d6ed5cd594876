"""A trained run in miniature: seconds of tones, their store and table of clips, and networks nobody trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.paths import RunPaths
from predict.inference.tagger import ClipPrediction, Tagger
from preprocess.dataset.clip_table import read_clip_table, write_clip_table
from preprocess.dataset.labels import write_vocabulary
from preprocess.frames import compute_frames
from preprocess.store.file_identity import file_fingerprint
from preprocess.store.reader import open_store
from preprocess.store.schema import FrameEncoding
from preprocess.store.writer import RowSource, write_store
from recipe import Features, Network, Recipe, as_dict
from recipe.bounds import Section
from tests.row_sources import row_source_of
from train.networks.factory import build_network_from_recipe
from train.runs.checkpoint import Checkpoint, save_checkpoint

LABELS = ["low", "mid, dle", "<script>alert('高い')</script>"]
FEATURES = Features(sample_rate_hz=8_000, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0)
FRAMES_PER_SECOND = 80.0
WINDOW = ["--prediction.window_seconds", "0.5", "--prediction.hop_seconds", "0.25"]


@dataclass(frozen=True)
class TinyRun:
    """Where the run is, and how a command line names it."""

    run_paths: RunPaths
    recipe: Recipe
    table: pd.DataFrame

    @property
    def arguments(self) -> list[str]:
        cache, submissions = str(self.run_paths.cache), str(self.run_paths.submissions)
        return ["--name", "tiny", "--cache", cache, "--submissions", submissions, *WINDOW]

    def write_store(
        self, unreadable: Sequence[str] = (), start_s: float = 0.0, louder_db: Sequence[float] = (), warning: str = ""
    ) -> None:
        """Frames of every recording but the `unreadable` ones, which go to failed.csv; louder ones as its copies.

        Each has `warning`.
        """
        row_sources = []
        for clip, path in zip(self.table["clip"], self.table["path"], strict=True):
            if clip not in unreadable:
                gains_db = enumerate([0.0, *louder_db])
                row_sources += [
                    make_row_source(clip, Path(path), start_s, variant, gain_db, warning)
                    for variant, gain_db in gains_db
                ]
        write_store(
            self.run_paths.store, FEATURES, FrameEncoding(np.dtype("float16"), 24, FRAMES_PER_SECOND), row_sources
        )
        reasons = pd.DataFrame({"clip": [*unreadable, "another's.wav"], "reason": "the file is empty"})
        reasons.to_csv(self.run_paths.failed_csv, index=False)
        if self.run_paths.clips_csv.exists():
            self.write_table(read_clip_table(self.run_paths.clips_csv))

    def write_table(self, table: pd.DataFrame) -> None:
        """Another table of clips."""
        with open_store(self.run_paths.store) as store:
            write_clip_table(self.run_paths.clips_csv, table, store.frames_digests())

    def set_test_labels(self, label: str) -> None:
        """A table of clips in which every test clip has `label`."""
        self.write_table(self.table.assign(labels=self.table["labels"].where(self.table["split"] != "test", label)))

    def frames(self, index: int) -> torch.Tensor:
        """The stored frames [n_frames, n_bins] of a clip of the table."""
        with open_store(self.run_paths.store) as store:
            return torch.from_numpy(store.read(index)).float()

    def write_network(self, fold: int, seed: int = 0, labels: Sequence[str] = LABELS, **sections: Section) -> None:
        """An untrained network as the best of a fold; `sections` of its recipe are other than the run's."""
        recipe = replace(self.recipe, **sections)  # type: ignore[arg-type]
        torch.manual_seed(10 * fold + seed)
        network = build_network_from_recipe(recipe, 24, len(labels), mean=-40.0, std=20.0)
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
        save_checkpoint(self.run_paths.run_dir / folder / "best.pt", checkpoint)


def make_row_source(
    clip: str, path: Path, start_s: float, variant: int = 0, gain_db: float = 0.0, warning: str = ""
) -> RowSource:
    """The frames of a recording as one piece of a store."""
    samples, sample_rate_hz = soundfile.read(path, dtype="float32")
    frames = (compute_frames(samples[round(start_s * sample_rate_hz) :], FEATURES) + gain_db).astype(np.float16)
    return row_source_of(
        frames, path, clip, variant, file_fingerprint(str(path)), start_s, len(samples) / sample_rate_hz, warning
    )


def make_tiny_run(folder: Path) -> TinyRun:
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
    table = pd.DataFrame(rows, columns=["clip", "path", "labels", "fold", "split", "group", "label_quality"])
    run_paths = RunPaths(folder / "cache", folder / "submissions", "tiny", "tiny")
    tiny_run = TinyRun(run_paths, Recipe("tiny", features=FEATURES, network=Network(dropout=0.0)), table)
    write_vocabulary(run_paths.labels_csv, LABELS)
    tiny_run.write_store()
    tiny_run.write_table(table)
    tiny_run.write_network(fold=0)
    tiny_run.write_network(fold=1)
    return tiny_run


@pytest.fixture
def tiny_run(tmp_path: Path) -> TinyRun:
    """A run in miniature of the test's own."""
    return make_tiny_run(tmp_path)


def predict_frames(
    tagger: Tagger, frames: torch.Tensor, start_s: float = 0.0, duration_s: float = np.inf
) -> ClipPrediction:
    """The prediction for one clip's frames [n_frames, n_bins]."""
    (windows,) = tagger.scorer.score_clips([[frames]])
    return tagger.pool_clip(windows, start_s, duration_s)


def skip_onnx(monkeypatch: pytest.MonkeyPatch, *writers: str) -> None:
    """Export without torch.onnx, which takes seconds, or without these of its writers."""
    for name in writers or ("write_onnx", "write_samples_onnx"):
        monkeypatch.setattr(f"predict.export.{name}", lambda path, run: path.write_bytes(b"onnx"))
