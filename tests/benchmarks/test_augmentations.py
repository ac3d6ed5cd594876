"""The study of augmentations trains a run without each that the recipe uses, and prints what they reached."""

import re
from pathlib import Path

import pytest
import yaml

from benchmarks import augmentations
from core.errors import UserError
from tests.train.factories import N_BINS, write_training_dataset


def test_it_prints_the_metrics_of_a_run_without_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, cache = tmp_path / "recipe.yaml", tmp_path / "cache"
    recipe.write_text(
        yaml.safe_dump(
            {
                "features": {"n_bins": N_BINS},
                "training": {
                    "batch_size": 4,
                    "crop_seconds": 1.6,
                    "gain_probability": 0.5,
                    "time_roll_probability": 1.0,
                },
                "prediction": {"window_seconds": 1.6, "hop_seconds": 0.8},
            }
        ),
        encoding="utf-8",
    )
    write_training_dataset(cache)
    arguments = f"--recipe {recipe} --cache {cache} --epochs 1 --jobs 1 --mixtures 6 --max_labels 2"
    augmentations.main(arguments.split())
    printed = capsys.readouterr().out
    runs = ["all_augmentations", "without_time_roll", "without_gain"]
    metrics = re.findall(r"^(\w+) +mAP [01]\.\d{4}  macro F1 [01]\.\d{4}$", printed, re.M)
    assert sorted(metrics) == sorted(runs)
    for run in runs[1:]:
        kept = yaml.safe_load(
            (cache / "recipe" / "runs" / f"{run}_1epochs" / "recipe.yaml").read_text(encoding="utf-8")
        )
        assert kept["training"][run.replace("without_", "") + "_probability"] == 0
    augmentations.main(arguments.split())
    assert "loss" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", ["--max_labels 1", "--max_labels 6", "--max_attenuation_db 61", "--mixtures 0", "--epochs 0"]
)
def test_options_that_cannot_be_are_refused_before_training(tmp_path: Path, option: str) -> None:
    name, value = option.removeprefix("--").split()
    with pytest.raises(UserError, match=f"(?s){name}.* {value}(: must be| does not conform)"):
        augmentations.main(["--cache", str(tmp_path), *option.split()])
    assert not list(tmp_path.iterdir())
