"""A run's folder: its recipe, and what another recipe does to it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import BadInput
from core.paths import FITTED_NAMES, Places
from recipe import Prediction, Recipe, Training, as_dict
from recipe.cli import read_command
from train.runs.run_folder import begin_run, best_paths, check_begun, differing_keys, fold_home, fold_of


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, tmp_path, "recipe", "run")


def test_the_resolved_recipe_is_written_and_reads_back_as_itself(places: Places) -> None:
    recipe = Recipe(training=Training(max_lr="1e-4..1e-2", noise_snr_db=(5.0, 20.0), progressive=[0.5, 1.0]))
    begin_run(places, recipe)
    path = places.run_home / "recipe.yaml"
    assert read_command(["--recipe", str(path), "--name", "recipe"], "test").recipe == recipe


def test_networks_of_another_recipe_are_set_aside_and_those_of_the_same_stay(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_run(places, Recipe())
    (places.run_home / "fold0").mkdir()
    places.oof_csv.touch()
    (places.run_home / "suspicious.csv").touch()
    answering = Recipe(prediction=Prediction(window_seconds=9.0))
    begin_run(places, answering)
    assert (places.run_home / "fold0").exists()
    assert not places.oof_csv.exists(), "scores of weights that are about to change"
    assert not (places.run_home / "suspicious.csv").exists()
    for number in (1, 2):
        begin_run(places, Recipe(training=Training(epochs=number)))
        assert f"now run run-{number}" in capsys.readouterr().out
        assert (places.run_home.with_name(f"run-{number}") / "fold0").exists()
        assert not (places.run_home / "fold0").exists()
        (places.run_home / "fold0").mkdir()


def test_a_network_s_folder_tells_its_fold(tmp_path: Path) -> None:
    for seeds in (1, 2):
        recipe = Recipe(training=Training(seeds=seeds))
        assert [fold_of(fold_home(tmp_path, recipe, fold, 1)) for fold in (0, 2, 12)] == [0, 2, 12]
    assert [fold_of(tmp_path / name) for name in ("folders", "fold", "fold_seed1", "2", "old_fold2")] == [None] * 5


def test_the_best_networks_of_a_run_are_found_by_their_folders(tmp_path: Path) -> None:
    for name in ("fold1_seed0", "fold0", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pt").touch()
    (tmp_path / "fold2").mkdir()
    assert best_paths(tmp_path) == [tmp_path / "fold0" / "best.pt", tmp_path / "fold1_seed0" / "best.pt"]


def test_networks_of_folds_that_are_no_more_go(places: Places) -> None:
    begin_run(places, Recipe())
    for name in ("fold0", "fold2_seed1", "fold12_seed0", "folders"):
        (places.run_home / name).mkdir()
    begin_run(places, Recipe())
    assert (places.run_home / "fold12_seed0").exists()
    begin_run(places, Recipe(), folds=[0, 1, 2])
    assert sorted(path.name for path in places.run_home.glob("fold*")) == ["fold0", "fold2_seed1", "folders"]


def test_what_was_fitted_stays_where_no_weight_changes(places: Places) -> None:
    begin_run(places, Recipe())
    fitted = places.run_home / FITTED_NAMES[0]
    fitted.touch()
    begin_run(places, Recipe(), finished=True)
    assert fitted.exists()
    begin_run(places, Recipe())
    assert not fitted.exists()


def test_resuming_with_another_recipe_names_what_differs(places: Places) -> None:
    begin_run(places, Recipe())
    changed = Recipe(training=Training(epochs=7, max_lr=1e-3))
    with pytest.raises(BadInput, match=r"training\.epochs = 60, training\.max_lr = 0\.003"):
        check_begun(places, changed)


def test_a_recipe_does_not_differ_from_what_was_written_of_it() -> None:
    resolved = as_dict(Recipe(training=Training(noise_snr_db=(5.0, 20.0))))
    assert differing_keys(yaml.safe_load(yaml.safe_dump(resolved)), resolved) == ""
    assert differing_keys({}, resolved).startswith("features.kind = None")


@pytest.mark.parametrize("key", ["corrections", "start_from"])
def test_a_run_does_not_overwrite_what_it_reads(places: Places, key: str) -> None:
    begin_run(places, Recipe())
    (places.run_home / "fold0").mkdir()
    reads: dict[str, Any] = {key: str(places.run_home / "suspicious.csv")}
    with pytest.raises(BadInput, match=rf"training\.{key} = .*suspicious\.csv is in the folder of this run"):
        begin_run(places, Recipe(training=Training(**reads)))
    assert (places.run_home / "fold0").exists()


def test_a_recipe_file_that_is_no_recipe_is_named(places: Places) -> None:
    places.run_home.mkdir(parents=True)
    (places.run_home / "recipe.yaml").write_text("half: [", encoding="utf-8")
    with pytest.raises(BadInput, match=r"recipe\.yaml"):
        begin_run(places, Recipe())


def test_networks_of_several_seeds_have_folders_of_their_own() -> None:
    one, several = Recipe(), Recipe(training=Training(seeds=2))
    assert fold_home(Path("run"), one, 3, 0) == Path("run/fold3")
    assert fold_home(Path("run"), several, 3, 1) == Path("run/fold3_seed1")
