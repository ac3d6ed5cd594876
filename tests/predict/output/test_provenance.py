"""Whose a submission is: the run's as it is now, that of earlier networks, another recipe's, or of other recordings."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.paths import RunPaths
from predict import blend as blend_runs
from predict import run, score
from predict.output.provenance import why_foreign, why_stale, write_provenance
from report import inspect
from tests.predict.conftest import TinyRun


@pytest.fixture
def predicted(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> TinyRun:
    """A run that has just been predicted, of which nothing is doubted."""
    run.main(tiny_run.arguments)
    assert "warning" not in capsys.readouterr().err
    run.main(tiny_run.arguments)
    assert "warning" not in capsys.readouterr().err
    return tiny_run


def warnings(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """What score, inspect and blend say of the run's submission."""
    capsys.readouterr()
    found = []
    for main, more in (
        (score.main, []),
        (inspect.main, ["--no_maps"]),
        (blend_runs.main, ["--run", "both", "--runs", "tiny", "tiny"]),
    ):
        main([*tiny_run.arguments, *more])
        found.append(sorted({line for line in capsys.readouterr().err.splitlines() if "warning" in line}))
    return found


def test_a_submission_of_earlier_networks_is_told(predicted: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert warnings(predicted, capsys) == [[], [], []]
    predicted.write_network(fold=1, seed=1)
    for lines in warnings(predicted, capsys):
        (line,) = lines
        assert "tiny/submission.csv was predicted by other networks than the run has now: run make predict" in line
    run.main(predicted.arguments)
    assert warnings(predicted, capsys) == [[], [], []]


def test_a_submission_that_another_recipe_s_run_replaced_is_told_there_and_before(
    predicted: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run_paths = predicted.run_paths
    other = replace(run_paths, name="other")
    shutil.copytree(run_paths.dataset_dir, other.dataset_dir)
    capsys.readouterr()
    run.main([*predicted.arguments, "--name", "other", "--run", "tiny", "--prediction.pooling", "max"])
    assert (
        "tiny/submission.csv is of recipe 'tiny', which has a run of that name too, and is replaced"
        in capsys.readouterr().err
    )
    for lines in warnings(predicted, capsys):
        assert len(lines) == 1 and "is of recipe 'other'" in lines[0]
    capsys.readouterr()
    run.main(predicted.arguments)
    assert "is of recipe 'other', which has a run of that name too, and is replaced" in capsys.readouterr().err


def test_a_run_of_another_recipe_is_doubted_by_its_own_networks(
    predicted: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """As make ensemble blends them."""
    blend = [*predicted.arguments, "--name", "other", "--run", "both", "--runs", "tiny"]
    blend_runs.main(blend)
    assert "warning" not in capsys.readouterr().err
    predicted.write_network(fold=1, seed=1)
    blend_runs.main(blend)
    assert "was predicted by other networks than the run has now: run make predict" in capsys.readouterr().err
    with pytest.raises(UserError, match="run tiny is of recipe tiny, not other: leave --fit out"):
        blend_runs.main([*blend, "--fit"])


def test_recordings_of_one_name_do_not_replace_each_other_unsaid(
    predicted: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [tmp_path / folder / "field.wav" for folder in "xy"]
    for source, recording in zip(sources, predicted.table["path"].iloc[-2:], strict=True):
        source.parent.mkdir()
        shutil.copy(recording, source)
    lines = []
    for source in (sources[0], sources[0], sources[1]):
        capsys.readouterr()
        run.main([*predicted.arguments, "--jobs", "1", "--input", str(source)])
        lines.append([line for line in capsys.readouterr().err.splitlines() if "warning" in line])
    assert lines[:2] == [[], []]
    assert f"tiny/inputs/field/submission.csv is of {sources[0]}, and is replaced" in lines[2][0]
    assert lines[2][0].endswith(f"move {predicted.run_paths.input_dir(sources[0])} elsewhere")
    truth = tmp_path / "truth.csv"
    truth.write_text("fname,labels\nfield.wav,low\n", encoding="utf-8")
    for source, is_doubted in zip(sources, (True, False), strict=True):
        score.main([*predicted.arguments, "--input", str(source), "--truth", str(truth)])
        assert (f"is of {sources[1]}" in capsys.readouterr().err) is is_doubted


def test_what_nothing_is_known_of(tmp_path: Path) -> None:
    run_paths = RunPaths(tmp_path / "cache", tmp_path, "recipe", "a")
    submission = run_paths.submission_csv
    assert why_foreign(run_paths, submission) == ""  # it is not there
    submission.parent.mkdir()
    submission.write_text("clip,x\n1,0.5\n", encoding="utf-8")
    assert why_stale(run_paths, submission) == ""  # a blend has no networks
    assert why_foreign(run_paths, submission) == "is not known to be this run's"
    write_provenance(submission, "recipe", {})
    assert why_foreign(run_paths, submission) == ""
    submission.write_text("clip,x\n1,0.25\n", encoding="utf-8")
    assert "was changed" in why_foreign(run_paths, submission)
    submission.with_name("provenance.json").write_text("{", encoding="utf-8")
    assert why_foreign(run_paths, submission) == "is not known to be this run's"
