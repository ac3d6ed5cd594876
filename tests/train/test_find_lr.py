"""make lr: the search draws a curve, and its suggestions are where the curve says."""

from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from tests.train.factories import OPTIONS
from train.find_lr import main, smooth_losses, suggest_learning_rates
from train.loop.losses import batch_loss
from train.networks.factory import AudioNetwork


def test_the_command_draws_a_curve_and_suggests_rates(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*OPTIONS, "--cache", str(cache), "--steps", "40", "--training.max_lr", "1e-4..1e-2"])
    run_dir = cache / "recipe" / "runs" / "recipe"
    assert (run_dir / "lr.png").read_bytes().startswith(b"\x89PNG")
    curve = pd.read_csv(run_dir / "lr.csv")
    assert curve["lr"].is_monotonic_increasing
    assert curve["smoothed"].min() < 0.8 * curve["smoothed"].max()
    assert "(steepest)" in capsys.readouterr().out


def test_float16_has_a_curve_too(cache: Path) -> None:
    main([*OPTIONS, "--cache", str(cache), "--steps", "40", "--training.precision", "float16"])
    curve = pd.read_csv(cache / "recipe" / "runs" / "recipe" / "lr.csv")
    assert curve["smoothed"].min() < 0.8 * curve["smoothed"].max()


def test_a_full_device_says_what_to_lower(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as searching:
        searching.setattr("train.loop.train_fold.batch_loss", run_out)
        with pytest.raises(UserError, match=r"training\.batch_size = 4 .* try .* 2"):
            main([*OPTIONS, "--cache", str(cache), "--steps", "40"])
    monkeypatch.setattr(AudioNetwork, "forward", run_out)  # before the first step
    with pytest.raises(UserError, match=r"training\.batch_size = 4 .* try .* 2"):
        main([*OPTIONS, "--cache", str(cache), "--steps", "40"])


def test_a_loss_that_is_never_finite_says_what_to_try(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.loop.train_fold.batch_loss", lambda *given: batch_loss(*given) * float("nan"))
    with pytest.raises(UserError, match=r"not finite at --min_lr 1e-06: begin lower, or use training\.precision"):
        main([*OPTIONS, "--cache", str(cache), "--steps", "40"])


def test_suggestions_are_the_steepest_point_and_a_tenth_of_the_lowest() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    smoothed = 1 / (1 + (rates / 1e-3) ** 2) + (rates / 0.1) ** 2
    suggestions = suggest_learning_rates(pd.DataFrame({"lr": rates, "smoothed": smoothed}))
    assert list(suggestions) == ["steepest", "minimum / 10"]
    assert suggestions["steepest"] == pytest.approx(1e-3, rel=0.3)
    assert suggestions["minimum / 10"] == pytest.approx(rates[smoothed.argmin()] / 10)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    with pytest.raises(UserError, match="--min_lr"):
        suggest_learning_rates(pd.DataFrame({"lr": [1e-3, 1e-2, 1e-1], "smoothed": [1.0, 2.0, 3.0]}))


def test_smoothing_has_no_bias_towards_zero() -> None:
    assert smooth_losses([2.0] * 5).tolist() == pytest.approx([2.0] * 5)


@pytest.mark.parametrize("options", [["--steps", "3"], ["--min_lr", "1", "--max_lr", "0.1"], ["--fold", "9"]])
def test_options_that_cannot_be_are_refused(cache: Path, options: list[str]) -> None:
    with pytest.raises(UserError, match=r"--min_lr|--fold 9: there is no fold 9"):
        main([*OPTIONS, "--cache", str(cache), *options])
