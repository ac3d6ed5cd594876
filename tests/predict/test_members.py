"""What of a recipe's run counts as done: made by this recipe, after its data, before what follows from it."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from core.paths import PREDICTED_NAME, THRESHOLDS_NAME, Places
from predict.decide.fitted_params import write_fitted
from predict.members import Member, bring_up
from recipe import Prediction, Recipe, Training, as_dict

ORDER = ("clips", "store", "last", "oof", "submission")
"""Each is made after the one before it."""


@pytest.fixture
def member(tmp_path: Path) -> Member:
    """A recipe with everything done."""
    places = Places(tmp_path / "cache", tmp_path / "submissions", "tiny", "tiny")
    member = Member(tmp_path / "tiny.yaml", Recipe("tiny"), places, ("--training.epochs", "3"))
    for age, name in enumerate(ORDER):
        touch(member, name, age)
    write_recipe(member, member.recipe)
    written = {"submission": str(places.submission())}
    write_fitted(places.run_home / PREDICTED_NAME, written, member.recipe.prediction)
    return member


def path_of(member: Member, name: str) -> Path:
    places = member.places
    return {
        "clips": places.clips_csv,
        "store": places.store,
        "last": places.run_home / "fold0" / "last.pt",
        "oof": places.oof_csv,
        "submission": places.submission(),
    }[name]


def touch(member: Member, name: str, age: int) -> None:
    path = path_of(member, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1_000 + age, 1_000 + age))


def write_recipe(member: Member, recipe: Recipe) -> None:
    (member.places.run_home / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe)), encoding="utf-8")


def state(member: Member) -> tuple[bool, bool, bool]:
    return member.is_begun(), member.is_trained(), member.is_predicted()


def test_what_is_there_is_done(member: Member) -> None:
    assert state(member) == (True, True, True)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("clips", (False, False, True)), ("store", (False, False, True)), ("oof", (True, True, False))],
)
def test_what_changed_later_makes_the_rest_anew(member: Member, changed: str, expected: tuple[bool, ...]) -> None:
    touch(member, changed, 9)
    assert state(member) == expected


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("last", (False, True, True)), ("oof", (True, False, False)), ("submission", (True, True, False))],
)
def test_what_is_missing_is_not_done(member: Member, missing: str, expected: tuple[bool, ...]) -> None:
    path_of(member, missing).unlink()
    assert state(member) == expected


def test_networks_of_another_recipe_are_not_this_one_s(member: Member) -> None:
    write_recipe(member, replace(member.recipe, training=Training(epochs=7)))
    assert state(member) == (False, False, True)


def test_other_windows_only_score_the_same_networks_again(member: Member) -> None:
    write_recipe(member, replace(member.recipe, prediction=Prediction(pooling="max")))
    assert state(member) == (True, False, True)


def test_a_submission_of_other_windows_or_of_before_what_was_fitted_is_made_anew(member: Member) -> None:
    other = replace(member, recipe=replace(member.recipe, prediction=Prediction(pooling="max")))
    assert not other.is_predicted()
    (member.places.run_home / THRESHOLDS_NAME).touch()
    assert not member.is_predicted()


def test_the_dataset_may_be_named_by_another_path(member: Member) -> None:
    write_recipe(member, replace(member.recipe, data=replace(member.recipe.data, folder="elsewhere")))
    assert member.is_trained()
    write_recipe(member, replace(member.recipe, data=replace(member.recipe.data, seed=1)))
    assert not member.is_trained()


def test_only_what_is_missing_is_run(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    class Ended:
        returncode = 0

    def run(command: list[str]) -> Ended:
        calls.append(command)
        return Ended()

    monkeypatch.setattr("predict.members.subprocess.run", run)
    bring_up([member], "1", "cpu")
    whose = ["--recipe", str(member.path), "--run", "tiny", "--training.epochs", "3"]
    assert calls == [[sys.executable, "-m", "preprocess.features", *whose, "--jobs", "1"]]
    calls.clear()
    write_recipe(member, replace(member.recipe, prediction=Prediction(pooling="max")))
    bring_up([member], "2", "cpu")
    shared = [*whose, "--jobs", "2", "--device", "cpu"]
    assert calls[1:] == [[sys.executable, "-m", "train.fit", *shared, "--resume"]]
    calls.clear()
    path_of(member, "submission").unlink()
    write_recipe(member, member.recipe)
    bring_up([member], "2", "cpu")
    assert calls[1:] == [[sys.executable, "-m", "predict.run", *shared]]


def test_a_step_that_fails_ends_with_its_status(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        returncode = 130

    monkeypatch.setattr("predict.members.subprocess.run", lambda command: Ended())
    with pytest.raises(SystemExit) as caught:
        bring_up([member], "1", "cpu")
    assert caught.value.code == 130
