"""make runs: scores of folds counted by hand, spread over seeds, differing keys, and the page in a browser."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from core.csv_tables import write_table
from core.errors import UserError
from preprocess.dataset.clip_table import COLUMNS, write_clip_table
from preprocess.dataset.labels import write_vocabulary
from report import compare_runs
from report.training.run_table import difference_table, read_runs, score_table, seed_table
from tests.browser import check_looks, open_browser
from tests.make_commands import run_make
from train.evaluate.score_table import write_scores

CLIPS = ["a0", "b0", "a1", "b1"]
LOG = ["epoch", "train_loss", "val_loss", "lwlrap", "train_s", "val_s"]


def make_dataset(cache: Path, name: str = "tones") -> Path:
    rows = [(clip, f"/{clip}.wav", clip[0], int(clip[1]), "train", clip, "curated") for clip in CLIPS]
    noisy, test = ("n", "/n.wav", "a", 0, "train", "n", "noisy"), ("t", "/t.wav", "", -1, "test", "t", "curated")
    (cache / name).mkdir(parents=True)
    write_clip_table(cache / name / "clips.csv", pd.DataFrame([*rows, noisy, test], columns=COLUMNS), {})
    write_vocabulary(cache / name / "labels.csv", ["a", "b"])
    return cache / name


def make_run(dataset: Path, name: str, first_scores: list[float] | None, **training: object) -> None:
    """A run of two folds; `first_scores` are of label a, for CLIPS and the noisy clip; those of b are the rest to 1."""
    run = dataset / "runs" / name
    for fold in (0, 1):
        (run / f"fold{fold}").mkdir(parents=True)
        write_table(
            run / f"fold{fold}/log.csv", LOG, [(1, 0.7, 0.6, 0.5 + fold / 4, 30, 6), (2, 0.6, 0.5, 0.75, 30, 6)]
        )
    recipe = {"name": name, "data": {"folder": f"/{name}"}, "training": {"seed": 0, "epochs": 2, **training}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    if first_scores:
        scores = np.array([(score, 1 - score) for score in first_scores], np.float32)
        write_scores(run / "oof.csv", [*CLIPS, "n"], ["a", "b"], scores)


RIGHT, HALF = [0.9, 0.1, 0.8, 0.2, 0.0], [0.9, 0.1, 0.3, 0.7, 0.0]
"""Scores that are right for all curated clips, and for those of fold 0 alone."""


def test_scores_are_those_of_curated_clips_by_fold(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    make_run(dataset, "half", HALF)
    make_run(dataset, ".half.new", HALF)  # of a run that is trained anew
    (run,) = read_runs(dataset)
    assert run.fold_metrics["accuracy"].to_dict() == {"0": 1.0, "1": 0.0, "all": 0.5}
    assert run.fold_metrics["lwlrap"].to_dict() == {"0": 1.0, "1": 0.5, "all": 0.75}
    assert run.curve("lwlrap") == [0.625, 0.75]
    (row,) = score_table([run]).to_dict("records")
    assert (row["networks"], row["epochs"], row["minutes"], row["accuracy"]) == (2, 2, "2.4", 0.5)
    assert row["lwlrap over folds"] == f"0.7500 ± {np.std([1, 0.5], ddof=1):.4f}"
    (row,) = score_table([replace(run, fold_metrics=run.fold_metrics.drop(index="1"))]).to_dict("records")
    assert row["lwlrap over folds"] == "1.0000"  # one fold has no deviation


def test_a_run_s_corrections_count(tmp_path: Path) -> None:
    dataset, corrections = make_dataset(tmp_path), tmp_path / "better.csv"
    corrections.write_text("clip,labels\na1,b\nb1,drop\n")
    make_run(dataset, "plain", HALF)
    make_run(dataset, "better", HALF, corrections=str(corrections))
    better, plain = (run.fold_metrics["accuracy"].to_dict() for run in read_runs(dataset))
    assert plain == {"0": 1.0, "1": 0.0, "all": 0.5}
    assert better == {"0": 1.0, "1": 1.0, "all": 1.0}


def test_seeds_of_one_recipe_are_averaged_and_other_keys_listed(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    make_run(dataset, "first", RIGHT)
    make_run(dataset, "second", HALF, seed=1)
    make_run(dataset, "shares_one", HALF, seed=1, seeds=2)
    make_run(dataset, "two", HALF, seed=2, seeds=2)
    assert seed_table(read_runs(dataset)).to_dict("list")["runs"] == ["first, second"], "they share seed 2"
    for name in ("shares_one", "two"):
        shutil.rmtree(dataset / "runs" / name)
    make_run(dataset, "longer", RIGHT, epochs=3)
    runs = read_runs(dataset)
    (row,) = seed_table(runs).to_dict("records")
    assert (row["runs"], row["seeds"]) == ("first, second", 2)
    assert row["accuracy"] == f"0.7500 ± {np.std([1, 0.5], ddof=1):.4f}"
    expected = pd.DataFrame(
        {"first": ["2", "0"], "longer": ["3", "0"], "second": ["2", "1"]}, ["training.epochs", "training.seed"]
    )
    pd.testing.assert_frame_equal(difference_table(runs), expected, check_dtype=False)


def test_a_run_without_scores_says_why(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    make_run(dataset, "unfinished", None)
    make_run(dataset, "other_clips", RIGHT)
    write_scores(dataset / "runs/other_clips/oof.csv", ["a0"], ["a", "b"], np.array([[0.9, 0.1]], np.float32))
    for name, text in (("number", "7"), ("broken", "[")):
        (dataset / "runs" / name).mkdir()
        (dataset / "runs" / name / "recipe.yaml").write_text(text)
    gaps = {run.name: run.gap for run in read_runs(dataset)}
    assert gaps["unfinished"] == "it is not finished"
    assert "train it again" in gaps["other_clips"]
    assert all(gaps[name].startswith("it cannot be read: ") for name in ("number", "broken"))
    assert set(score_table(read_runs(dataset))["run"]) == set(gaps)


def test_a_run_may_have_the_name_of_a_column(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    make_run(dataset, "key", RIGHT)
    make_run(dataset, "run", RIGHT, epochs=3)
    compare_runs.main(["--cache", str(tmp_path)])
    page = (tmp_path / "runs.html").read_text()
    assert '<td dir="auto">training.epochs</td><td dir="auto">2</td><td dir="auto">3</td>' in page


def test_a_cache_without_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no runs: run make train first"):
        compare_runs.main(["--cache", str(tmp_path)])
    make_run(make_dataset(tmp_path), "right", RIGHT)
    with pytest.raises(UserError, match=r"--datasets tnoes: .*/tnoes has no runs"):
        compare_runs.main(["--cache", str(tmp_path), "--datasets", "tones", "tnoes"])


def test_make_runs_prints_the_runs_and_its_page_sorts_and_searches(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=document.title='hacked'>"
    dataset = make_dataset(tmp_path)
    make_run(dataset, hostile, HALF)
    make_run(dataset, "right", RIGHT)
    done = run_make(tmp_path, "runs", "", ARGS=f"--cache {tmp_path}")
    assert "tones: 2 runs" in done.stdout
    assert "right" in done.stdout
    with open_browser() as browser:
        browser.get((tmp_path / "runs.html").as_uri())
        assert browser.title == "Runs · Earmark"
        assert browser.get_log("browser") == []
        check_looks(browser, "runs")
        shown = "[...document.querySelectorAll('.searched .run')].filter(each => each.offsetHeight)"
        names = f"return {shown}.map(each => each.textContent)"
        assert browser.execute_script(names) == [hostile, "right"]
        sort = "[...document.querySelectorAll('.searched th button')].find(e => e.textContent === 'accuracy').click()"
        browser.execute_script(sort)
        assert browser.execute_script(names) == ["right", hostile]
        browser.find_element("css selector", "input[type=search]").send_keys("right")
        assert browser.execute_script(names) == ["right"]
        assert browser.execute_script("return document.querySelectorAll('polyline').length") == 6
