"""Whose a submission is: the run's as it is now, that of earlier networks, another recipe's, or of other recordings."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from predict import blend as blend_runs
from predict import run, score
from predict.output.provenance import doubt_of, predicted_with, remember, strange_in
from recipe import Prediction
from report import inspect
from tests.predict.conftest import Home


@pytest.fixture
def predicted(home: Home, capsys: pytest.CaptureFixture[str]) -> Home:
    """A run that has just been predicted, of which nothing is doubted."""
    run.main(home.arguments)
    assert "warning" not in capsys.readouterr().err
    run.main(home.arguments)
    assert "warning" not in capsys.readouterr().err
    return home


def warnings(home: Home, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """What score, inspect and blend say of the run's submission."""
    capsys.readouterr()
    found = []
    for main, more in (
        (score.main, []),
        (inspect.main, ["--no_maps"]),
        (blend_runs.main, ["--run", "both", "--runs", "tiny", "tiny"]),
    ):
        main([*home.arguments, *more])
        found.append(sorted({line for line in capsys.readouterr().err.splitlines() if "warning" in line}))
    return found


def test_a_submission_of_earlier_networks_is_told(predicted: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert warnings(predicted, capsys) == [[], [], []]
    predicted.write_network(fold=1, seed=1)
    for said in warnings(predicted, capsys):
        (line,) = said
        assert "tiny.csv was predicted by other networks than the run has now: run make predict" in line
    run.main(predicted.arguments)
    assert warnings(predicted, capsys) == [[], [], []]


def test_a_submission_that_another_recipe_s_run_replaced_is_told_there_and_before(
    predicted: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    places = predicted.places
    other = replace(places, name="other")
    shutil.copytree(places.home, other.home)
    (other.run_home / "predicted.json").unlink()
    capsys.readouterr()
    run.main([*predicted.arguments, "--name", "other", "--run", "tiny", "--prediction.pooling", "max"])
    assert "tiny.csv is not known to be this run's, and is replaced" in capsys.readouterr().err
    for said in warnings(predicted, capsys):
        assert len(said) == 1 and "another recipe's run of that name" in said[0]
    capsys.readouterr()
    run.main(predicted.arguments)
    assert "another recipe's run of that name has replaced it, and is replaced" in capsys.readouterr().err


def test_recordings_of_one_name_do_not_replace_each_other_unsaid(
    predicted: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [tmp_path / folder / "field.wav" for folder in "xy"]
    for source, recording in zip(sources, predicted.table["path"].iloc[-2:], strict=True):
        source.parent.mkdir()
        shutil.copy(recording, source)
    said = []
    for source in (sources[0], sources[0], sources[1]):
        capsys.readouterr()
        run.main([*predicted.arguments, "--jobs", "1", "--input", str(source)])
        said.append([line for line in capsys.readouterr().err.splitlines() if "warning" in line])
    assert said[:2] == [[], []]
    assert f"tiny_on_field.csv is of {sources[0]}, and is replaced" in said[2][0]
    truth = tmp_path / "truth.csv"
    truth.write_text("fname,labels\nfield.wav,low\n", encoding="utf-8")
    for source, is_doubted in zip(sources, (True, False), strict=True):
        score.main([*predicted.arguments, "--input", str(source), "--truth", str(truth)])
        assert (f"is of {sources[1]}" in capsys.readouterr().err) is is_doubted


def test_what_nothing_is_known_of(tmp_path: Path) -> None:
    home, submission = tmp_path / "runs" / "a", tmp_path / "a.csv"
    submission.write_text("clip,x\n1,0.5\n", encoding="utf-8")
    assert doubt_of(home, submission) == ""  # a blend has no networks
    assert strange_in(home, submission) == "is not known to be this run's"
    assert strange_in(home, tmp_path / "none.csv") == ""
    remember(home, submission, Prediction(), "digest", None)
    assert (strange_in(home, submission), predicted_with(home, submission, Prediction())) == ("", "")
    assert predicted_with(home, submission, Prediction(top_k=2)) == "prediction.top_k 3"
    submission.write_text("clip,x\n1,0.25\n", encoding="utf-8")
    assert "was changed" in strange_in(home, submission)
    (home / "predicted.json").write_text("{", encoding="utf-8")
    assert predicted_with(home, submission, Prediction()) is None
