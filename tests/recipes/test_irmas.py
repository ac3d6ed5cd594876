"""The recipe of IRMAS, by the commands a user types, on a small set laid out as its archives unpack."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocess.store.reader import open_store
from tests.make_commands import run_in_process
from train.runs.checkpoint import load_checkpoint

CODES = ("cel", "flu", "voi")
SAMPLE_RATE_HZ = 44_100
LAST = ["03 - b-1.wav", "03 - b-2.wav", "c-10.wav"]
SHORT = "--data.folds 2 --training.epochs 1 --training.batch_size 6 --training.power_mix_clips 2 --tuning.mixtures 4"


@pytest.fixture(scope="module")
def irmas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the four archives unpack to: stereo, 3 s to learn from, longer test clips and their .txt."""
    folder = tmp_path_factory.mktemp("irmas")
    random = np.random.default_rng(0)
    for number, code in enumerate(CODES):
        for track in range(4):
            name = f"[{code}][nod][cla]{track:04}__{track % 3 + 1}.wav"
            write_tones(folder / "IRMAS-TrainingData" / code / name, [number], 3.0, random)
    (folder / "IRMAS-TrainingData" / "README.txt").write_text("IRMAS", encoding="utf-8")
    tests = {
        "IRMAS-TestingData-Part1/Part1/01 - A Piece - Opus 1-1": ("cel", "flu"),
        "IRMAS-TestingData-Part1/Part1/01 - A Piece - Opus 1-2": ("cel",),
        "IRMAS-TestingData-Part1/Part1/(02) another-1": ("voi", "flu"),
        "IRMAS-TestingData-Part2/IRTestingData-Part2/03 - b-1": ("flu",),
        "IRMAS-TestingData-Part2/IRTestingData-Part2/03 - b-2": ("flu", "voi"),
        "IRMAS-TestingData-Part3/Part3/c-10": ("cel",),
    }
    for name, codes in tests.items():
        write_tones(folder / f"{name}.wav", [CODES.index(code) for code in codes], 5.3, random)
        (folder / f"{name}.txt").write_text("".join(f"{code}\t\n" for code in codes), encoding="utf-8")
    return folder


def write_tones(path: Path, instruments: list[int], seconds: float, random: np.random.Generator) -> None:
    """A tone an instrument, in a little noise."""
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tones = [0.2 * np.sin(2 * np.pi * 300 * 3.0**number * time_s) for number in instruments]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, np.sum(tones, axis=0)[:, None] + 0.01 * random.standard_normal((len(time_s), 2)), SAMPLE_RATE_HZ
    )


def test_irmas_goes_from_its_archives_to_scores_of_sliding_windows_and_of_the_middle_one(
    irmas: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in_process(tmp_path, "features train", SHORT, "irmas", data=irmas)
    assert "13 clips, 3 labels, folds [0, 1]" in capsys.readouterr().out
    run_in_process(tmp_path, "tune predict score", SHORT, "irmas", data=irmas)
    printed = capsys.readouterr().out
    assert "f1_macro on 4 mixtures" in printed
    submission = pd.read_csv(tmp_path / "submissions" / "irmas" / "submission.csv")
    assert list(submission.columns) == ["clip", *CODES]
    assert submission["clip"].tolist() == ["01 - A Piece - Opus 1-1.wav", "01 - A Piece - Opus 1-2.wav", *LAST]
    run_in_process(tmp_path, "predict score", f"{SHORT} --prediction.pooling center", "irmas", data=irmas)
    center = capsys.readouterr().out
    for table in (printed.partition(".csv against")[2], center.partition(".csv against")[2]):
        assert "Hamming score" in table and "macro F1" in table
        header, *rows = table[table.index("\nlabel ") :].strip().splitlines()
        assert header.split()[:5] == ["label", "clips", "decided", "false", "missed"]
        assert [row.split()[:2] for row in rows[:3]] == [["cello", "3"], ["flute", "3"], ["voice", "1"]]
    assert "decisions at 0.5 for every label" in center and "decisions at 0.5" not in printed


def test_resnet18_learns_from_images_of_short_time_spectra(irmas: Path, tmp_path: Path) -> None:
    for target, more in (("features", ""), ("train", "--folds 0"), ("predict", "--prediction.hop_seconds 3")):
        run_in_process(tmp_path, target, f"{SHORT} {more}", "irmas_resnet18", data=irmas)
    run_dir = tmp_path / "cache" / "irmas_resnet18" / "runs" / "irmas_resnet18"
    checkpoint = load_checkpoint(run_dir / "fold0" / "best.pt")
    assert (checkpoint.n_bins, checkpoint.frames_per_second) == (256, 52)
    with open_store(tmp_path / "cache" / "irmas_resnet18" / "features.h5") as store:
        assert Counter(Counter(row.clip for row in store.rows()).values()) == {3: 13, 1: 5}, (
            "training clips have copies"
        )
    assert len(pd.read_csv(tmp_path / "submissions" / "irmas_resnet18" / "submission.csv")) == 5
