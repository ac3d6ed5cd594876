"""The three recipes of ESC-50, by the commands a user types, on a small set laid out as its archive unpacks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import torchvision

from core.errors import UserError
from tests.make_commands import make, run_in_process

SHORT = "--training.epochs 1 --training.batch_size 20 --training.crop_seconds 0.2 --prediction.window_seconds 0.2"
N_CLASSES, N_FOLDS, SAMPLE_RATE_HZ = 10, 5, 44_100
ORIGINAL_WAVEFORM = (
    "--network.name waveform --network.filterbank_bins 0 --network.modulation_units 0 --features.n_bins 1 "
    "--features.sample_rate_hz 16000"
)
"""The five convolutions over samples of the book from which the recipe comes."""


@pytest.fixture(scope="module")
def esc50(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ESC-50-master/ with audio/*.wav and meta/esc50.csv as published, but ten classes: a clip of each a fold."""
    folder = tmp_path_factory.mktemp("unpacked") / "ESC-50-master"
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    random = np.random.default_rng(0)
    time_s = np.arange(round(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    rows = []
    for fold in range(1, N_FOLDS + 1):
        for target in range(N_CLASSES):
            source = 100_000 + fold * 1_000 + target
            name = f"{fold}-{source}-A-{target}.wav"
            tone = 0.3 * np.sin(2 * np.pi * 200 * 1.5**target * random.uniform(0.98, 1.02) * time_s)
            soundfile.write(folder / "audio" / name, tone + 0.01 * random.standard_normal(len(time_s)), SAMPLE_RATE_HZ)
            rows.append((name, fold, target, f"class_{target:02}", target % 5 == 0, source, "A"))
    columns = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "meta" / "esc50.csv", index=False)
    (folder / "README.md").write_text("# ESC-50", encoding="utf-8")
    return folder


def test_the_spectrogram_goes_from_the_unpacked_archive_to_scores_of_every_clip(
    esc50: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in_process(tmp_path, "features train predict", SHORT, "esc50", data=esc50)
    printed = capsys.readouterr().out
    assert "50 clips, 10 labels, folds [1, 2, 3, 4, 5]" in printed
    submission = pd.read_csv(tmp_path / "submissions" / "esc50" / "submission.csv")
    assert list(submission.columns) == ["clip", *(f"class_{number:02}" for number in range(N_CLASSES))]
    assert sorted(submission["clip"]) == sorted(path.name for path in (esc50 / "audio").iterdir())
    out_of_fold = pd.read_csv(tmp_path / "cache" / "esc50" / "runs" / "esc50" / "oof.csv")
    assert len(out_of_fold) == N_CLASSES * N_FOLDS


@pytest.mark.parametrize("keys", ["", ORIGINAL_WAVEFORM])
def test_the_waveform_finds_its_learning_rate_and_learns_one_fold(esc50: Path, tmp_path: Path, keys: str) -> None:
    small = f"{SHORT} --prediction.hop_seconds 0.2 {keys}"
    run_in_process(tmp_path, "features", small, "esc50_waveform", data=esc50)
    printed = make(tmp_path, "lr", f"{small} --steps 20", RECIPE="esc50_waveform", DATA=esc50)
    assert "suggested training.max_lr" in printed
    run_dir = tmp_path / "cache" / "esc50_waveform" / "runs" / "esc50_waveform"
    assert (run_dir / "lr.png").read_bytes().startswith(b"\x89PNG")
    run_in_process(tmp_path, "train", f"{small} --folds 3", "esc50_waveform", data=esc50)
    assert len(pd.read_csv(run_dir / "fold3" / "log.csv")) == 1


@pytest.fixture(scope="module")
def pictures(esc50: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the features of esc50_imagenet."""
    root = tmp_path_factory.mktemp("pictures")
    run_in_process(root, "features", "", "esc50_imagenet", data=esc50)
    return root


def test_imagenet_s_network_is_fine_tuned_from_a_local_file(esc50: Path, pictures: Path, tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.pth"
    torch.manual_seed(0)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, weights)
    more = f"{SHORT} --training.epochs 2 --training.freeze_epochs 1 --folds 2"
    more += f" --network.name resnet18 --network.weights {weights}"
    run_in_process(pictures, "train", more, "esc50_imagenet", data=esc50)
    fold_dir = pictures / "cache" / "esc50_imagenet" / "runs" / "esc50_imagenet" / "fold2"
    trained = torch.load(fold_dir / "best.pt", weights_only=True)["network"]
    stem = trained["trunk.0.0.weight"]
    assert stem.shape == (64, 3, 7, 7)
    moved = (stem - state["conv1.weight"]).abs().mean() / state["conv1.weight"].abs().mean()
    assert 0 < moved < 0.5, "the stem began as in the file, and was trained after the frozen epoch"


def test_where_imagenet_cannot_be_downloaded_one_line_says_what_to_do(
    esc50: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in pictures.rglob("*") if path.is_file())
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    capsys.readouterr()
    with pytest.raises(UserError) as caught:
        run_in_process(pictures, "train", "", "esc50_imagenet", run="another", data=esc50)
    assert capsys.readouterr().err == ""
    assert "\n" not in str(caught.value)
    for words in ("network.weights = imagenet", "resnet50", "cannot be downloaded", "path/to/file.pth"):
        assert words in str(caught.value)
    assert sorted(path for path in pictures.rglob("*") if path.is_file()) == before
