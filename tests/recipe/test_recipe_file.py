"""Texts of a recipe, as labels, are as they are written, whatever YAML takes them for."""

from pathlib import Path

import pytest

from core.errors import UserError
from predict.output.ground_truth import add_submission_options
from recipe.cli import parse_command

WRITTEN = [
    "no",
    "Yes",
    "on",
    "off",
    "true",
    "null",
    "~",
    "1",
    "007",
    "1e3",
    "1.50",
    ".5",
    "0x1F",
    "2024-01-01",
    "12:30:45",
    "NA",
]


@pytest.mark.parametrize("how", ["file", "option", "option=", "after a file"])
def test_labels_are_texts_as_they_are_written(tmp_path: Path, how: str) -> None:
    labels, path = f"[{', '.join(WRITTEN)}, 'rain, heavy']", tmp_path / "birds.yaml"
    path.write_text(f"data:\n  labels: {labels if how == 'file' else '[other]'}\n  folds: 7\n", encoding="utf-8")
    option = {"file": [], "option=": [f"--data.labels={labels}"]}.get(how, ["--data.labels", labels])
    file = ["--recipe", str(path)] if how in ("file", "after a file") else []
    data = parse_command([*file, *option], "test").recipe.data
    assert data.labels == [*WRITTEN, "rain, heavy"]
    assert data.folds == (7 if file else 5)


@pytest.mark.parametrize("key", ["label_names", "label_icons", "columns"])
def test_mappings_of_labels_are_texts_as_they_are_written(tmp_path: Path, key: str) -> None:
    mapping, path = f"{{{', '.join(f'{text}: {text}' for text in WRITTEN)}}}", tmp_path / "birds.yaml"
    path.write_text(f"data:\n  {key}: {mapping}\n", encoding="utf-8")
    for arguments in (["--recipe", str(path)], [f"--data.{key}", mapping], [f"--data.{key}={mapping}"]):
        assert getattr(parse_command(arguments, "test").recipe.data, key) == {text: text for text in WRITTEN}


def test_labels_written_below_each_other_and_none_at_all(tmp_path: Path) -> None:
    path = tmp_path / "birds.yaml"
    path.write_text("data:\n  labels:\n  - no\n  - 'yes'\n", encoding="utf-8")
    assert parse_command(["--recipe", str(path)], "test").recipe.data.labels == ["no", "yes"]
    assert parse_command(["--recipe", str(path), "--data.labels", "null"], "test").recipe.data.labels is None


@pytest.mark.parametrize("text", ["null", "~", "no", "1"])
def test_runs_and_files_are_named_as_they_are_written(text: str) -> None:
    command = parse_command(["--name", text, "--run", text, "--input", text], "test", add_submission_options)
    home = str(Path(text).expanduser())  # a path of ~ is the home folder, and no null of YAML
    assert (command.run_paths.name, command.run_paths.run, command.options.input) == (text, text, home)


@pytest.mark.parametrize("text", ["007", "no", "1.50", "2024-01-01"])
def test_a_folder_is_named_as_it_is_written(tmp_path: Path, text: str) -> None:
    path = tmp_path / "birds.yaml"
    path.write_text(f"data:\n  folder: {text}\n  background: {text}\n  labels:\n", encoding="utf-8")
    data = parse_command(["--recipe", str(path)], "test").recipe.data
    assert (data.folder, data.background, data.labels) == (text, text, None)


def test_labels_are_added_as_they_are_written() -> None:
    arguments = ["--data.labels", "[rain, no]", "--data.labels+", "[007]", "--data.labels+", "on"]
    assert parse_command(arguments, "test").recipe.data.labels == ["rain", "no", "007", "on"]


def test_numbers_are_read_by_the_types_of_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "birds.yaml"
    path.write_text("data: {folds: 010}\ntraining: {max_lr: 1e-3, compile: true}\nprediction: {threshold: null}\n")
    recipe = parse_command(["--recipe", str(path)], "test").recipe
    assert (recipe.data.folds, recipe.training.max_lr, recipe.training.compile) == (10, 0.001, True)
    assert recipe.prediction.threshold is None


def test_a_label_that_is_no_word_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.labels"):
        parse_command(["--data.labels", "[a: b]"], "test")
