"""Files damaged anywhere: each command uses what it can vouch for, or ends in one line; none ends in a traceback."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from predict import blend, calibrate, export, run, score, tune
from report import inspect
from tests.predict.conftest import LABELS, TinyRun, make_tiny_run
from train.evaluate.score_table import read_scores, write_scores

Main = Callable[[Sequence[str]], object]
CALIBRATED = ["--prediction.calibrate", "true"]
N_MUTATIONS = 5
WORDS = (b"", b"\x00", b"\xff\xfe", b"nan", b"-1", b"1e308", b"[[[[", b"{", b"null", b"\n", b",", b'"', b"9" * 5000)


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """The content with a flipped bit, cut short, without a span of it, or with another word somewhere."""
    place, more = (int(each) for each in random.integers(0, len(content) + 1, 2))
    first, last = min(place, more), max(place, more)
    match int(random.integers(4)):
        case 0 if content:
            place = min(place, len(content) - 1)
            return content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :]
        case 1:
            return content[:place]
        case 2:
            return content[:first] + content[last:]
    return content[:place] + WORDS[int(random.integers(len(WORDS)))] + content[place:]


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyRun, Path]:
    """A run with every file that the commands read, and a copy of its folders."""
    tiny_run, copy = make_tiny_run(tmp_path_factory.mktemp("complete")), tmp_path_factory.mktemp("copy")
    paths = tiny_run.run_paths
    for main in (calibrate.main, tune.main, run.main):
        main([*tiny_run.arguments, *CALIBRATED])
    tiny_run.set_test_labels("low")
    scores = read_scores(paths.submission_csv)
    training = tiny_run.table.loc[tiny_run.table["split"] == "train", "clip"].tolist()
    write_scores(paths.oof_csv, training, LABELS, scores.values[: len(training)])
    paths.sample_csv.write_text("clip," + ",".join(f'"{label}"' for label in scores.labels) + "\n")
    (paths.run_dir / "fold0" / "log.csv").write_text("epoch,train_loss\n1,0.5\n")
    for folder in (paths.cache, paths.submissions):
        shutil.copytree(folder, copy / folder.name)
    return tiny_run, copy


@pytest.fixture
def complete_run(complete: tuple[TinyRun, Path]) -> TinyRun:
    """The complete run, as it was made."""
    tiny_run, copy = complete
    for folder in (tiny_run.run_paths.cache, tiny_run.run_paths.submissions):
        shutil.rmtree(folder)
        shutil.copytree(copy / folder.name, folder)
    return tiny_run


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("thresholds.json", [run.main, score.main]),
        ("calibration.json", [run.main, tune.main]),
        ("clips.csv", [run.main, tune.main]),
        ("labels.csv", [run.main]),
        ("features.h5", [run.main, calibrate.main]),
        ("failed.csv", [run.main]),
        ("sample_submission.csv", [run.main]),
        ("submission.csv", [score.main, inspect.main, blend.main]),
        ("provenance.json", [score.main, blend.main]),
        ("oof.csv", [blend.main]),
        ("best.pt", [run.main]),
        ("log.csv", [run.main]),
    ],
)
def test_no_damaged_file_ends_in_a_traceback(complete_run: TinyRun, name: str, steps: list[Main]) -> None:
    paths, arguments = complete_run.run_paths, [*complete_run.arguments, *CALIBRATED]
    folders = (paths.dataset_dir, paths.run_dir, paths.run_dir / "fold0", paths.submission_dir)
    path = next(folder / name for folder in folders if (folder / name).exists())
    content, random = path.read_bytes(), np.random.default_rng(len(name))
    for number in range(N_MUTATIONS):
        damaged = mutate(content, random)
        for step in steps:
            path.write_bytes(damaged)
            own = ["--run", "both", "--runs", "tiny", "tiny", "--fit"] if step is blend.main else []
            try:
                step([*arguments, *own])
            except UserError as error:
                assert str(error) and "weights_only" not in str(error)
            except OSError as error:
                assert error.strerror  # the script says it in one line
            except Exception as error:
                raise AssertionError(f"{step.__module__}, mutation {number} of {name}: {damaged[:300]!r}") from error


@pytest.mark.parametrize("text", ["[" * 100_000, '{"thresholds": ' * 5_000, '{"a": "' + "x" * (1 << 26) + '"}'])
def test_files_too_deep_or_too_large_end_in_one_line(tiny_run: TinyRun, text: str) -> None:
    (tiny_run.run_paths.run_dir / "thresholds.json").write_text(text)
    with pytest.raises(UserError, match=r"thresholds\.json cannot be used .*: run make tune again, or remove it"):
        run.main(tiny_run.arguments)
    with pytest.raises(UserError, match=r"thresholds\.json"):
        export.main(tiny_run.arguments)


def test_what_is_damaged_says_where(tiny_run: TinyRun) -> None:
    path = Path(tiny_run.run_paths.run_dir / "calibration.json")
    path.write_text(json.dumps({"temperature": 1e308, "fold_temperature": 1}))
    with pytest.raises(UserError, match=r"calibration\.json has the temperature 1e\+308: run make calibrate again"):
        run.main([*tiny_run.arguments, "--prediction.calibrate", "true"])
