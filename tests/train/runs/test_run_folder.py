"""A run's folder: its recipe, and what another recipe does to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import UserError
from core.paths import FITTED_PARAMS_NAMES, RunPaths
from recipe import Prediction, Recipe, Training, as_dict
from recipe.cli import parse_command
from train.runs import run_folder
from train.runs.run_folder import (
    check_own_files,
    describe_differing_keys,
    describe_recipe_change,
    find_best_checkpoints,
    find_corrections,
    get_fold_dir,
    parse_fold_number,
)


def start_run(
    run_paths: RunPaths, recipe: Recipe, *, finished: bool = False, folds: Sequence[int] | None = None
) -> None:
    run_folder.start_run(run_paths, recipe, finished=finished, folds=folds)


@pytest.fixture
def run_paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path, tmp_path, "recipe", "run")


def test_the_resolved_recipe_is_written_and_reads_back_as_itself(run_paths: RunPaths) -> None:
    training = Training(max_lr="1e-4..1e-2", noise_snr_db=(5.0, 20.0), progressive=[0.5, 1.0], freeze_epochs=[3, 2])
    recipe = Recipe(training=replace(training, stages=[(20, 1e-3), (40, "1e-4..1e-3")]))
    start_run(run_paths, recipe)
    path = run_paths.run_dir / "recipe.yaml"
    assert parse_command(["--recipe", str(path), "--name", "recipe"], "test").recipe == recipe


def test_a_run_keeps_a_copy_of_its_corrections(run_paths: RunPaths, tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text("clip,labels\na,dog\n")
    start_run(run_paths, Recipe(training=Training(corrections=str(path))))
    path.unlink()
    copy = find_corrections(run_paths, Recipe())
    assert copy and Path(copy).read_text() == "clip,labels\na,dog\n"
    assert find_corrections(run_paths, Recipe(training=Training(corrections="other.csv"))) == "other.csv"
    start_run(run_paths, Recipe())
    assert find_corrections(run_paths, Recipe()) is None


def test_networks_of_another_recipe_are_set_aside_and_those_of_the_same_stay(
    run_paths: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    start_run(run_paths, Recipe())
    (run_paths.run_dir / "fold0").mkdir()
    run_paths.oof_csv.touch()
    (run_paths.run_dir / "label_issues.csv").touch()
    predicting = Recipe(prediction=Prediction(window_seconds=9.0))
    start_run(run_paths, predicting)
    assert (run_paths.run_dir / "fold0").exists()
    assert not run_paths.oof_csv.exists(), "scores of weights that are about to change"
    assert not (run_paths.run_dir / "label_issues.csv").exists()
    for number in (1, 2):
        start_run(run_paths, Recipe(training=Training(epochs=number)))
        assert f"now run run-{number}" in capsys.readouterr().out
        assert (run_paths.run_dir.with_name(f"run-{number}") / "fold0").exists()
        assert not (run_paths.run_dir / "fold0").exists()
        (run_paths.run_dir / "fold0").mkdir()


def test_a_network_s_folder_tells_its_fold(tmp_path: Path) -> None:
    for seeds in (1, 2):
        recipe = Recipe(training=Training(seeds=seeds))
        assert [parse_fold_number(get_fold_dir(tmp_path, recipe, fold, 1)) for fold in (0, 2, 12)] == [0, 2, 12]
    assert [parse_fold_number(tmp_path / name) for name in ("folders", "fold", "fold_seed1", "2", "old_fold2")] == [
        None
    ] * 5


def test_the_best_networks_of_a_run_are_found_by_their_folders(tmp_path: Path) -> None:
    for name in ("fold1_seed0", "fold0", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pt").touch()
    (tmp_path / "fold2").mkdir()
    assert find_best_checkpoints(tmp_path) == [tmp_path / "fold0" / "best.pt", tmp_path / "fold1_seed0" / "best.pt"]


def test_networks_of_folds_that_are_no_more_go(run_paths: RunPaths) -> None:
    start_run(run_paths, Recipe())
    for name in ("fold0", "fold2_seed1", "fold12_seed0", "folders"):
        (run_paths.run_dir / name).mkdir()
    start_run(run_paths, Recipe())
    assert (run_paths.run_dir / "fold12_seed0").exists()
    start_run(run_paths, Recipe(), folds=[0, 1, 2])
    assert sorted(path.name for path in run_paths.run_dir.glob("fold*")) == ["fold0", "fold2_seed1", "folders"]


def test_what_was_fitted_stays_where_no_weight_changes(run_paths: RunPaths) -> None:
    start_run(run_paths, Recipe())
    fitted = run_paths.run_dir / FITTED_PARAMS_NAMES[0]
    fitted.touch()
    start_run(run_paths, Recipe(), finished=True)
    assert fitted.exists()
    start_run(run_paths, Recipe())
    assert not fitted.exists()


def test_temporary_files_of_killed_trainings_go(run_paths: RunPaths) -> None:
    start_run(run_paths, Recipe())
    (run_paths.run_dir / "fold1").mkdir()
    for name in (".oof.csv.31.tmp", "fold1/.best.pt.4242.tmp", "fold1/best.pt", "fold1/.notes.tmp"):
        (run_paths.run_dir / name).touch()
    start_run(run_paths, Recipe())
    assert sorted(path.name for path in run_paths.run_dir.rglob("*.*")) == [".notes.tmp", "best.pt", "recipe.yaml"]


def test_what_differs_from_the_recipe_of_a_run_is_named(run_paths: RunPaths) -> None:
    start_run(run_paths, Recipe())
    changed = Recipe(training=Training(epochs=7, max_lr=1e-3))
    described = describe_recipe_change(run_paths.run_dir, changed)
    assert described == "training.epochs = 60, training.max_lr = 0.003"


def test_a_recipe_does_not_differ_from_what_was_written_of_it() -> None:
    training = Training(epochs=9, noise_snr_db=(5.0, 20.0), stages=[(4, 1e-3), (5, "1e-4..1e-3")])
    resolved = as_dict(Recipe(training=training))
    assert describe_differing_keys(yaml.safe_load(yaml.safe_dump(resolved)), resolved) == ""
    for damaged in ({}, {"features": 3}, {"features": [1]}):
        assert describe_differing_keys(damaged, resolved).startswith("features.kind = None")


@pytest.mark.parametrize("key", ["corrections", "start_from"])
def test_a_run_does_not_overwrite_what_it_reads(run_paths: RunPaths, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run_paths.run_dir.parent))
    reads: dict[str, Any] = {key: "~/run/label_issues.csv"}
    with pytest.raises(UserError, match=rf"training\.{key} = .*label_issues\.csv is in the folder of this run"):
        check_own_files(run_paths, Recipe(training=Training(**reads)))
    check_own_files(replace(run_paths, run="other"), Recipe(training=Training(**reads)))


@pytest.mark.parametrize("text", ["half: [", "3", "[" * 10_000, "date: 2024-99-99"])
def test_a_recipe_file_that_is_no_recipe_is_named(run_paths: RunPaths, text: str) -> None:
    run_paths.run_dir.mkdir(parents=True)
    (run_paths.run_dir / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"recipe\.yaml"):
        start_run(run_paths, Recipe())


def test_networks_of_several_seeds_have_folders_of_their_own() -> None:
    one, several = Recipe(), Recipe(training=Training(seeds=2))
    assert get_fold_dir(Path("run"), one, 3, 0) == Path("run/fold3")
    assert get_fold_dir(Path("run"), several, 3, 1) == Path("run/fold3_seed1")
