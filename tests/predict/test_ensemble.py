"""make ensemble: recipes of different features trained, predicted and blended, and nothing done twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from predict.ensemble import main
from preprocess.dataset.clip_table import COLUMNS, write_clips
from tests.typed import ROOT, SMALL, make, places, run_here, run_make
from train.evaluate.score_table import read_scores, write_scores


def made(home: Path) -> dict[str, int]:
    """What is there that training and prediction write, with its time of change."""
    kept = [*home.rglob("*.pt"), *home.rglob("oof.csv"), *home.rglob("submissions/*.csv"), *home.rglob("features.h5")]
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in kept if "both" not in str(path)}


def test_recipes_become_one_submission_and_nothing_is_done_twice(
    tmp_path: Path, tone_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tone_folders(clips=4)
    small = f"{SMALL} --training.epochs 1 --data.folder {data}"
    run_here(tmp_path, "features train", small)
    printed = make(tmp_path, "ensemble", small, RECIPES="demo esc50", RUN="both")
    assert printed.count("trained already") == 1
    mean = sum(read_scores(tmp_path / "submissions" / f"{name}.csv").values for name in ("demo", "esc50")) / 2
    blended = read_scores(tmp_path / "submissions" / "both.csv")
    np.testing.assert_allclose(blended.values, mean, atol=1e-6)
    assert read_scores(tmp_path / "cache" / "demo" / "runs" / "both" / "oof.csv").clips
    assert "both, by mean" in printed
    assert "accuracy" in printed
    before = made(tmp_path)
    recipes = [str(ROOT / "recipes" / f"{name}.yaml") for name in ("demo", "esc50")]
    main(["--recipes", *recipes, "--run", "both", *f"{places(tmp_path)} {small}".split()])
    again = capsys.readouterr().out
    assert made(tmp_path) == before
    assert again.count("trained already") == again.count("predicted already") == 2


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two recipes that have been brought up: `good` knows the labels, `bad` guesses, its rows in another order."""
    monkeypatch.setattr("predict.ensemble.bring_up", lambda *_: None)
    random = np.random.default_rng(0)
    truth = np.eye(2, dtype=np.float32)[np.arange(24) % 2]
    clips = [f"{number}.wav" for number in range(24)]
    for name, scores in (("good", 0.1 + 0.8 * truth), ("bad", random.uniform(size=(24, 2)))):
        (tmp_path / f"{name}.yaml").write_text("data: {layout: folders}\n", encoding="utf-8")
        home, order = tmp_path / "cache" / name, random.permutation(24)
        rows = [
            (clip, clip, "ab"[int(row[1])], n % 3, "train", clip, "curated")
            for n, (clip, row) in enumerate(zip(clips, truth, strict=True))
        ]
        write_clips(home / "clips.csv", pd.DataFrame(rows, columns=COLUMNS))
        for path in (home / "runs" / name / "oof.csv", tmp_path / "submissions" / f"{name}.csv"):
            write_scores(path, [clips[row] for row in order], ["a", "b"], scores[order].astype(np.float32))
    files = [str(tmp_path / f"{name}.yaml") for name in ("good", "bad")]
    return ["--recipes", *files, "--cache", str(tmp_path / "cache"), "--submissions", str(tmp_path / "submissions")]


def test_weights_are_fitted_across_folds(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*arguments, "--fit", "--by", "geometric"])
    printed = capsys.readouterr().out
    assert "out of fold, 24 clips" in printed
    assert "accuracy 1.0000  1.000  ensemble, by geometric" in printed
    blended, good = (read_scores(tmp_path / "submissions" / f"{name}.csv") for name in ("ensemble", "good"))
    assert blended.clips == good.clips
    np.testing.assert_allclose(blended.values, good.values, atol=0.1)


def test_clips_that_only_one_recipe_scored_are_named(tmp_path: Path, arguments: list[str]) -> None:
    write_scores(tmp_path / "submissions" / "bad.csv", ["0.wav"], ["a", "b"], np.zeros((1, 2), np.float32))
    with pytest.raises(BadInput, match=r"bad has no scores of clip '1\.wav'"):
        main(arguments)
    assert not (tmp_path / "submissions" / "ensemble.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipes", "recipes/esc50.yaml"], ["two or more"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/esc50.yaml"], ["different"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/demo.yaml", "--run", "demo"], ["--run demo"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/demo.yaml", "--run", "a/b"], ["--run", "a/b"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/none.yaml"], ["none.yaml"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/demo.yaml", "--by", "luck"], ["--by", "luck"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/demo.yaml", "--jobs", "0"], ["--jobs 0"]),
        (["--recipes", "recipes/esc50.yaml", "recipes/demo.yaml", "--training.epochz", "1"], ["epochz"]),
        ([], ["--recipes"]),
    ],
)
def test_what_makes_no_ensemble_is_refused_before_anything_is_done(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        main([*arguments, "--cache", str(tmp_path / "cache")] if arguments else [])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_step_that_fails_ends_it_with_its_own_line(tmp_path: Path) -> None:
    ended = run_make(tmp_path, "ensemble", f"{SMALL} --data.folder {tmp_path}/nowhere", RECIPES="demo esc50")
    said = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, ended.stderr
    assert "nowhere" in said[0]
    assert "Error 2" in ended.stderr
