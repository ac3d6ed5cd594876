"""The recipes of Freesound Audio Tagging 2019, by the commands a user types, on seconds of sound in its folders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from preprocess.store.reader import open_store
from tests.make_commands import run_in_process
from train.runs.checkpoint import load_checkpoint

TONES_HZ = {"Zip": 300.0, "Bark": 1_500.0, "Accordion": 6_000.0}
SAMPLE = ["fname", "Bark", "Zip", "Accordion"]
SHORT = "--data.folds 2 --training.epochs 2 --training.batch_size 4"


@pytest.fixture(scope="module")
def freesound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The competition's folder as downloaded: two training pools, a test folder, a sample submission in no order."""
    folder, random = tmp_path_factory.mktemp("freesound"), np.random.default_rng(0)
    combinations = ["Zip", "Bark", "Accordion", "Bark,Zip"]
    for pool, n_clips in {"train_curated": 8, "train_noisy": 8}.items():
        labels = [combinations[number % 4] for number in range(n_clips)]
        names = [f"{pool[6:8]}{number}.wav" for number in range(n_clips)]
        for name, joined in zip(names, labels, strict=True):
            write_tones(folder / pool / name, joined.split(","), 0.4 + random.uniform(0, 0.8), random)
        pd.DataFrame({"fname": names, "labels": labels}).to_csv(folder / f"{pool}.csv", index=False)
    names = ["zz.wav", "0a.wav", "mm.wav"]
    for name, seconds in zip(names, [0.3, 5.0, 2.0], strict=True):
        write_tones(folder / "test" / name, ["Bark"], seconds, random)
    sample = pd.DataFrame({"fname": names} | dict.fromkeys(SAMPLE[1:], 0))
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


def write_tones(path: Path, labels: list[str], seconds: float, random: np.random.Generator) -> None:
    """A tone a label, with silence before and after it."""
    path.parent.mkdir(exist_ok=True)
    time_s = np.arange(round(seconds * 44_100)) / 44_100
    tones = sum(0.2 * np.sin(2 * np.pi * TONES_HZ[label] * time_s) for label in labels)
    sound = tones + 0.01 * random.standard_normal(len(time_s))
    soundfile.write(path, np.concatenate([np.zeros(8_820), sound, np.zeros(8_820)]), 44_100)


def test_the_notebook_learns_in_stages_and_predicts_with_views(freesound: Path, tmp_path: Path) -> None:
    recipe = "fsdkaggle2019_notebook"
    short = f"{SHORT} --training.epochs 2 --training.stages [[1,1e-2],[1,1e-4..1e-3]] --folds 0"
    run_in_process(tmp_path, "features train predict", short, recipe, data=freesound)
    run_dir = tmp_path / "cache" / recipe / "runs" / recipe
    checkpoint = load_checkpoint(run_dir / "fold0" / "best.pt")
    assert round(checkpoint.frames_per_second * checkpoint.recipe["training"]["crop_seconds"]) == 128
    assert checkpoint.recipe["prediction"]["view_shifts_s"] == [-0.25, 0.25]
    assert pd.read_csv(run_dir / "fold0" / "log.csv")["lr"].tolist() == pytest.approx([1e-2, 1e-3])
    with open_store(tmp_path / "cache" / recipe / "features.h5") as store:
        assert min(row.n_frames for row in store.rows()) == 128, "2 s at least"
    submission = pd.read_csv(tmp_path / "submissions" / recipe / "submission.csv")
    assert list(submission["fname"]) == list(pd.read_csv(freesound / "sample_submission.csv")["fname"])
    assert submission.iloc[:, 1:].to_numpy().std() > 0


@pytest.mark.parametrize("recipe", ["fsdkaggle2019", "fsdkaggle2019_winner"])
def test_a_teacher_then_its_pupil_fill_the_sample_submission(
    recipe: str, freesound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curated = f"{SHORT} --training.noisy_rate 0"
    run_in_process(tmp_path, "features train", curated, recipe, run="curated", data=freesound)
    runs = tmp_path / "cache" / recipe / "runs"
    # A teacher of two epochs is sure of nothing: it keeps everything.
    pupil = f"{SHORT} --training.teacher {runs}/curated --training.teacher_keep_threshold 0"
    run_in_process(tmp_path, "train predict", pupil, recipe, data=freesound)
    assert "fold0 the teacher keeps " in capsys.readouterr().out
    submission = pd.read_csv(tmp_path / "submissions" / recipe / "submission.csv")
    sample = pd.read_csv(freesound / "sample_submission.csv")
    assert list(submission.columns) == list(sample.columns) == SAMPLE
    assert list(submission["fname"]) == list(sample["fname"])
    scores = submission.iloc[:, 1:].to_numpy()
    assert ((scores > 0) & (scores < 1)).all()
    out_of_fold = pd.read_csv(runs / recipe / "oof.csv")
    assert len(out_of_fold) == 16
    assert (runs / recipe / "label_issues.csv").exists()
    clips = pd.read_csv(tmp_path / "cache" / recipe / "clips.csv")
    assert dict(clips["label_quality"].value_counts()) == {"curated": 11, "noisy": 8}
