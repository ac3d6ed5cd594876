"""The whole road, by the commands a user types, on seconds of synthetic sound."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.errors import UserError
from tests.make_commands import SMALL_RECIPE, make, run_in_process, run_make


def test_four_make_commands_go_from_recordings_to_a_scored_csv(
    tmp_path: Path, tone_folders: Callable[..., Path]
) -> None:
    data = tone_folders()
    (data / "mid" / "broken.wav").write_bytes(b"<html>not found</html>")  # costs itself alone
    keys = f"{SMALL_RECIPE} --training.epochs 12"
    printed = make(tmp_path, "features train predict inspect", keys, DATA=data, PY=sys.executable)
    assert list(pd.read_csv(tmp_path / "cache" / "demo" / "failed.csv")["clip"]) == ["mid/broken.wav"]
    submission = pd.read_csv(tmp_path / "submissions" / "demo" / "submission.csv")
    assert list(submission.columns) == ["clip", "low, deep", "mid", "高い"]
    assert len(submission) == 30
    clips = pd.read_csv(tmp_path / "cache" / "demo" / "clips.csv").set_index("clip").loc[submission["clip"]]
    best = submission.iloc[:, 1:].idxmax(axis=1)
    assert (best.to_numpy() == clips["labels"].to_numpy()).mean() > 0.9
    assert "lwlrap" in printed
    page = (tmp_path / "submissions" / "demo" / "report.html").read_text(encoding="utf-8")
    assert "<audio" in page
    assert "data:image/" in page
    assert 'src="http' not in page
    run_dir = tmp_path / "cache" / "demo" / "runs" / "demo"
    assert {"recipe.yaml", "oof.csv"} <= {path.name for path in run_dir.iterdir()}
    assert {"best.pt", "last.pt", "log.csv"} <= {path.name for path in (run_dir / "fold0").iterdir()}
    windows = pd.read_csv(tmp_path / "submissions" / "demo" / "windows.csv")
    assert list(windows.columns) == ["clip", "start_s", "end_s", "label", "score"]


def test_the_demo_goes_from_sound_to_a_page(tmp_path: Path) -> None:
    printed = run_make(tmp_path, "-n demo", "", RUN="not_there", ARGS="").stdout
    steps = re.findall(r"-m ([a-z_.]+)", printed)
    before = ["synth.render_demo", "preprocess.features", "train.fit"]
    assert steps == [*before, "predict.tune", "predict.run", "report.inspect"]
    assert "--brief" in printed and "make serve RECIPE=demo" in printed


def test_same_seed_gives_identical_features_and_scores_whatever_the_jobs(prepared: Path, tmp_path: Path) -> None:
    keys = f"{SMALL_RECIPE} --training.epochs 1 --jobs 2"
    run_in_process(tmp_path, "features train predict", keys, data=prepared / "tones")
    for name in ("cache/demo/features.h5", "submissions/demo/submission.csv", "submissions/demo/windows.csv"):
        assert (prepared / name).read_bytes() == (tmp_path / name).read_bytes()


def test_test_clips_of_any_length_are_predicted_in_the_sample_s_order(tmp_path: Path) -> None:
    data = freesound_folder(tmp_path / "freesound")
    run_in_process(
        tmp_path, "features train predict", f"{SMALL_RECIPE} --training.epochs 2 --data.layout fsdkaggle2019", data=data
    )
    sample = pd.read_csv(data / "sample_submission.csv")
    submission = pd.read_csv(tmp_path / "submissions" / "demo" / "submission.csv")
    assert list(submission.columns) == list(sample.columns)
    assert list(submission["fname"]) == list(sample["fname"])
    assert np.isfinite(submission.iloc[:, 1:].to_numpy()).all()


def freesound_folder(folder: Path) -> Path:
    """A FSDKaggle2019 folder whose test clips are shorter than, equal to and a frame longer than a window."""
    random = np.random.default_rng(1)
    tables: dict[str, list[tuple[str, str]]] = {"train_curated": [], "train_noisy": []}
    for pool, rows in tables.items():
        (folder / pool).mkdir(parents=True)
        for number in range(12):
            write_noise(folder / pool / f"{pool}{number}.wav", 9_600, random)
            rows.append((f"{pool}{number}.wav", ["Bark", "Zip", "Bark,Zip"][number % 3]))
        pd.DataFrame(rows, columns=["fname", "labels"]).to_csv(folder / f"{pool}.csv", index=False)
    (folder / "test").mkdir()
    names = []
    for n_samples in (16_001, 8_250, 8_000, 7_999, 400, 1):
        names.append(f"{n_samples}.wav")
        write_noise(folder / "test" / names[-1], n_samples, random)
    pd.DataFrame({"fname": names, "Zip": 0, "Bark": 0}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def write_noise(path: Path, n_samples: int, random: np.random.Generator) -> None:
    soundfile.write(path, 0.1 * random.standard_normal(n_samples), 16_000)


def test_bad_input_stops_make_with_one_line(prepared: Path) -> None:
    before = files_below(prepared)
    more = f"{SMALL_RECIPE} --data.folder {prepared}/nowhere"
    completed = run_make(prepared, "features train", more, DATA=prepared / "tones")
    messages = [line for line in completed.stderr.splitlines() if not line.startswith("make")]
    assert len(messages) == 1, completed.stderr
    assert "Error 2" in completed.stderr
    assert "nowhere" in messages[0]
    assert files_below(prepared) == before


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        ("features", "--data.folder {root}/empty", ["empty"]),
        ("features", "--data.labels '[\"mid\"]'", ["data.labels"]),
        ("features", "--data.folds 40", ["40", "fold"]),
        ("train", "--features.n_bins 16", ["features.h5", "n_bins", "make features"]),
        ("train", "--folds 0,9", ["no fold 9", "0, 1"]),
        ("predict", "--run other", ["other", "make train"]),
        ("score", "--truth {root}/truth.csv", ["truth.csv"]),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(prepared: Path, target: str, more: str, words: list[str]) -> None:
    before = files_below(prepared)
    with pytest.raises(UserError) as caught:
        run_in_process(prepared, target, f"{SMALL_RECIPE} {more.format(root=prepared)}", data=prepared / "tones")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert files_below(prepared) == before


def files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with features of three classes of tones, an empty folder, and a truth of other clips."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "empty").mkdir()
    (root / "truth.csv").write_text("fname,labels\nelsewhere.wav,mid\n", encoding="utf-8")
    random = np.random.default_rng(0)
    for label in ("low", "mid", "high"):
        (root / "tones" / label).mkdir(parents=True)
        for number in range(4):
            write_noise(root / "tones" / label / f"{label}{number}.wav", 16_000, random)
    run_in_process(root, "features train predict", f"{SMALL_RECIPE} --training.epochs 1", data=root / "tones")
    return root
