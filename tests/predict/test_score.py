"""make score, by its command line, against scikit-learn."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    hamming_loss,
    label_ranking_average_precision_score,
)

from core.errors import UserError
from predict import run, tune
from predict.output.annotation_formats import FORMATS
from predict.score import main
from report import inspect
from tests.predict.conftest import LABELS, TinyRun
from train.evaluate.score_table import read_scores, write_scores


@pytest.fixture
def scored(tiny_run: TinyRun) -> tuple[np.ndarray, np.ndarray, Path]:
    """Truth and scores of five clips with 1-3 labels, and the truth's file; the submission is in its place."""
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
    scores = np.random.default_rng(0).uniform(size=(5, 3)).astype(np.float32)
    clips = [f"{number}.wav" for number in range(5)]
    write_scores(tiny_run.run_paths.submission_csv, clips, LABELS, scores, "fname")
    path = tiny_run.run_paths.cache / "truth.csv"
    order = [3, 1, 0, 4, 2]
    joined = [";".join(LABELS[column] for column in np.flatnonzero(truth[row])) for row in order]
    pd.DataFrame({"fname": [clips[row] for row in order], "labels": joined}).to_csv(path, index=False)
    return truth, scores, path


def test_metrics_equal_scikit_learn_s(
    tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, scores, path = scored
    main([*tiny_run.arguments, "--truth", str(path)])
    printed = capsys.readouterr().out
    decided, n_labels = scores >= 0.5, truth.sum(axis=1)
    expected = {
        "lwlrap": label_ranking_average_precision_score(truth, scores, sample_weight=n_labels),
        "mAP": average_precision_score(truth, scores, average="macro"),
        "micro F1": f1_score(truth, decided, average="micro"),
        "macro F1": f1_score(truth, decided, average="macro"),
        "Hamming score": 1 - hamming_loss(truth, decided),
    }
    for name, value in expected.items():
        assert re.search(rf"^{name} +{value:.4f}$", printed, flags=re.M), (name, value, printed)
    assert "accuracy" not in printed
    for index, label in enumerate(LABELS):
        line = next(line for line in printed.splitlines() if line.startswith(label + " "))
        precision = average_precision_score(truth[:, index], scores[:, index])
        f1 = f1_score(truth[:, index], decided[:, index])
        cells = line[len(label) :].split()
        assert cells[:2] == [str(truth[:, index].sum()), str(decided[:, index].sum())]
        present, given = truth[:, index] == 1, decided[:, index]
        assert cells[2:4] == [str((given & ~present).sum()), str((present & ~given).sum())]
        assert cells[5:] == [f"{precision:.3f}", f"{f1:.3f}"]


def test_a_path_may_begin_at_the_home_folder(
    tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scored[2]
    monkeypatch.setenv("HOME", str(path.parent))
    main([*tiny_run.arguments, f"--truth=~/{path.name}"])


def test_the_table_of_clips_is_the_truth_when_none_is_given(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    scores = np.array([[0.9, 0.2, 0.1]] * len(test), np.float32)
    write_scores(tiny_run.run_paths.submission_csv, test["clip"].tolist(), LABELS, scores)
    main(tiny_run.arguments)
    printed = capsys.readouterr().out
    accuracy = (test["labels"] == LABELS[0]).mean()
    assert re.search(rf"^accuracy +{accuracy:.4f}$", printed, flags=re.M), printed


def test_labels_are_shown_by_their_names(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    """In the terminal and on the page; a name that two labels have comes with the label."""
    run.main([*tiny_run.arguments, "--jobs", "1"])
    names = ["--data.label_names", json.dumps({LABELS[0]: "Bass", LABELS[1]: "Flute", LABELS[2]: "Flute"})]
    capsys.readouterr()
    main([*tiny_run.arguments, *names])
    inspect.main([*tiny_run.arguments, *names])
    printed = capsys.readouterr().out
    page = (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")
    for text in (printed, page):
        assert "Bass" in text
        assert f"Flute ({LABELS[1]})" in text
        assert text.count(LABELS[1]) == text.count(f"Flute ({LABELS[1]})") > 0
    assert read_scores(tiny_run.run_paths.submission_csv).labels == LABELS


@pytest.mark.parametrize("pooling", ["mean", "center"])
def test_sliding_windows_and_the_middle_one_are_scored_by_the_same_commands(
    tiny_run: TinyRun, pooling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*tiny_run.arguments, "--prediction.pooling", pooling]
    run.main(arguments)
    capsys.readouterr()
    main(arguments)
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    truth = np.array([[label == one for label in LABELS] for one in test["labels"]])
    decided = pd.read_csv(tiny_run.run_paths.submission_csv)[LABELS].to_numpy() >= 0.5
    assert f"Hamming score  {1 - hamming_loss(truth, decided):.4f}" in capsys.readouterr().out


def test_recordings_of_no_dataset_are_scored(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    recordings = Path(tiny_run.table["path"].iloc[0]).parent
    arguments = [*tiny_run.arguments, "--input", str(recordings)]
    run.main([*arguments, "--jobs", "1"])
    submission = tiny_run.run_paths.submission_dir / "inputs" / "sound" / "submission.csv"
    names, truth = pd.read_csv(submission)["clip"], tiny_run.run_paths.cache / "truth.csv"
    pd.DataFrame({"clip": names, "labels": LABELS[0]}).to_csv(truth, index=False)
    capsys.readouterr()
    main([*arguments, "--truth", str(truth)])
    assert f"{submission} against {truth}: 12 of 12 clips" in capsys.readouterr().out


def test_decisions_are_at_the_run_s_thresholds(
    tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    truth, scores, path = scored
    values = ", ".join(f'"{label}": 0.2' for label in LABELS)
    (tiny_run.run_paths.run_dir / "thresholds.json").write_text(f'{{"thresholds": {{{values}}}}}', encoding="utf-8")
    main([*tiny_run.arguments, "--truth", str(path)])
    printed = capsys.readouterr().out
    assert f"{f1_score(truth, scores >= 0.2, average='micro'):.4f}" in printed
    assert "thresholds.json" in printed


def test_thresholds_that_were_tuned_on_the_clips_scored_are_told(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    told, training = "thresholds were tuned on these clips: F1", tiny_run.table["split"] == "train"
    for table, options, is_told in (
        (tiny_run.table[training], [], True),
        (tiny_run.table[training], ["--mixtures", "4"], False),
        (tiny_run.table.assign(labels="low"), [], False),
    ):
        tiny_run.write_table(table)
        tune.main([*tiny_run.arguments, "--jobs", "1", *options])
        run.main([*tiny_run.arguments, "--jobs", "1"])
        for script in (main, inspect.main):
            capsys.readouterr()
            script(tiny_run.arguments)
            assert (told in capsys.readouterr().out) is is_told
        page = (tiny_run.run_paths.submission_dir / "report.html").read_text(encoding="utf-8")
        assert ("thresholds were tuned on the same clips" in page) is is_told


def test_a_submission_predicted_otherwise_is_told(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run.set_test_labels("low")
    run.main([*tiny_run.arguments, "--prediction.pooling", "max"])
    capsys.readouterr()
    main(tiny_run.arguments)
    assert "was predicted with prediction.pooling max" in capsys.readouterr().err
    main([*tiny_run.arguments, "--prediction.pooling", "max"])
    assert "was predicted with" not in capsys.readouterr().err


def test_labels_decided_at_other_thresholds_are_told(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run.set_test_labels("low")
    run.main(tiny_run.arguments)
    thresholds = {"thresholds": dict.fromkeys(LABELS, 0.2)}
    (tiny_run.run_paths.run_dir / "thresholds.json").write_text(json.dumps(thresholds), encoding="utf-8")
    main(tiny_run.arguments)
    assert "tiny/labels.csv was decided at other thresholds than" in capsys.readouterr().err
    run.main(tiny_run.arguments)
    main(tiny_run.arguments)
    assert "was decided at" not in capsys.readouterr().err


def test_a_submission_of_other_clips_is_refused(tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path]) -> None:
    path = scored[2]
    path.write_text("fname,labels\n0.wav,low\nelsewhere.wav,low\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"'1\.wav'"):
        main([*tiny_run.arguments, "--truth", str(path)])


def test_a_missing_submission_says_what_to_run(tiny_run: TinyRun) -> None:
    run.main(tiny_run.arguments)
    for path in (tiny_run.run_paths.submission_csv, tiny_run.run_paths.submission_dir / "provenance.json"):
        path.unlink()  # it was moved away to hand it in
        with pytest.raises(UserError, match=r"tiny/submission\.csv.*make predict"):
            main(tiny_run.arguments)


WINDOW_SCORES = [
    # start_s, end_s, low, mid, script
    (0.0, 0.5, 0.9, 0.1, 0.2),
    (0.5, 1.0, 0.8, 0.1, 0.7),
    (1.0, 1.5, 0.2, 0.6, 0.1),
    (1.5, 2.0, 0.1, 0.1, 0.1),
]
"""Found: low from 0 to 1, script from 0.5 to 1, mid from 1 to 1.5."""
TRUE_EVENTS = [(0.05, 1.1, LABELS[0]), (0.5, 1.0, LABELS[1]), (1.2, 2.0, LABELS[1]), (0.0, 0.5, "unknown")]
"""low is found; mid is missed once where script is found, and once begins 0.2 s late but ends 0.5 s early."""


def write_truth(folder: Path, form: str) -> Path:
    """TRUE_EVENTS of clip a.wav in a format; b.wav is a recording that could not be read."""
    path = folder / {"dcase": "truth.tsv", "csv": "truth.csv"}.get(form, "truth")
    match form:
        case "dcase":
            rows = [f"{clip}\t{a}\t{b}\t{label}" for clip in ("a.wav", "b.wav") for a, b, label in TRUE_EVENTS]
            path.write_text("\n".join(["filename\tonset\toffset\tevent_label", *rows]), encoding="utf-8")
        case "csv":
            table = pd.DataFrame(TRUE_EVENTS, columns=["start_s", "end_s", "label"])
            table.assign(fname="a.wav").to_csv(path, index=False)
        case "audacity":
            path.mkdir()
            (path / "a.txt").write_text(
                "".join(f"{a}\t{b}\t{label}\n" for a, b, label in TRUE_EVENTS), encoding="utf-8"
            )
        case "raven":
            path.mkdir()
            rows = [f"{n}\tSpectrogram 1\t1\t{a}\t{b}\t{label}" for n, (a, b, label) in enumerate(TRUE_EVENTS)]
            header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLabel"
            (path / "a.selections.txt").write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["dcase", "csv", "audacity", "raven"])
def test_windows_are_scored_against_events_counted_by_hand(
    tiny_run: TinyRun, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_run.run_paths.submission_dir
    write_scores(folder / "submission.csv", ["a.wav", "c.wav"], LABELS, np.array([[0.5, 0.6, 0.2]] * 2, np.float32))
    windows = pd.DataFrame(WINDOW_SCORES, columns=["start_s", "end_s", *LABELS])
    pd.concat([windows.assign(clip="a.wav"), windows.assign(clip="c.wav")[3:]]).to_csv(
        folder / "windows.csv", index=False, columns=["clip", "start_s", "end_s", *LABELS]
    )
    (folder / "failed.csv").write_text("clip,reason\nb.wav,no sound\n")
    main([*tiny_run.arguments, "--truth", str(write_truth(tmp_path, form))])
    printed = capsys.readouterr().out
    assert "note: 1 events are left out, of labels that the networks do not know: unknown" in printed
    assert "note: 1 of 2 clips have no event in the truth" in printed
    assert "5 windows" in printed
    table = pd.read_csv(folder / "event_metrics.csv", keep_default_na=False)
    values = dict(zip(zip(table["metric"], table["label"], strict=True), table["value"], strict=True))
    low, mid, script = LABELS
    expected = {
        # windows of a.wav: low, low and mid, mid, mid; found: low, low and script, mid, nothing
        ("window micro F1", ""): 2 * 3 / (5 + 4),
        ("window macro F1", ""): (2 * 2 / 4 + 2 * 1 / 4 + 0) / 3,
        ("event true", mid): 2,
        ("event found", mid): 1,
        ("event hits", mid): 0,
        ("event F1", low): 1,
        ("event F1", script): 0,
        ("event micro F1", ""): 2 * 1 / (3 + 3),
        ("event macro F1", ""): 1 / 3,
        ("event error rate", ""): (1 + 1 + 1) / 3,  # script instead of mid; mid missed; mid inserted
        # second 0 has low and mid, second 1 low and mid; found are low and script, mid
        ("segment micro F1", ""): 2 * 2 / (4 + 3),
        ("segment F1", low): 2 * 1 / (2 + 1),
        ("segment F1", mid): 2 * 1 / (2 + 1),
        ("segment F1", script): 0,
        ("segment error rate", ""): (1 + 1 + 0) / 4,
    }
    for key, value in expected.items():
        assert float(values[key]) == pytest.approx(value, abs=1e-5), key
    assert re.search(rf"^event +{1 / 3:.4f} +{1 / 3:.4f} +1.0000$", printed, flags=re.M), printed


def test_a_prediction_equals_what_it_exported(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    """All formats of recordings in folders, read back as the truth of the windows that they were made of."""
    folder = Path(tiny_run.table["path"].iloc[0]).parents[1] / "field trip"
    for number, path in enumerate(map(Path, tiny_run.table["path"])):
        place = folder / f"day {number % 2}" / f'{number} "é",.wav'
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    arguments = [*tiny_run.arguments, "--input", str(folder)]
    exports = ["audacity", "raven", "raven_merged", "kaleidoscope", "dcase"]
    run.main([*arguments, "--jobs", "1", "--merge", "--export", *exports])
    predicted = tiny_run.run_paths.input_dir(folder)
    for name in exports:
        capsys.readouterr()
        main([*arguments, "--truth", str(predicted / FORMATS[name][0])])
        printed = capsys.readouterr().out
        for kind in ("event", "segment"):
            assert re.search(rf"^{kind} +1.0000 +1.0000 +0.0000$", printed, flags=re.M), (name, printed)
    table = pd.read_csv(predicted / "event_metrics.csv", keep_default_na=False)
    assert (table.loc[table["metric"] == "event true", "value"].astype(float) > 0).any()
    run.main([*arguments, "--jobs", "1", "--prediction.threshold", "0.6"])
    assert not (predicted / "event_metrics.csv").exists()


def test_the_dataset_s_own_events_are_the_truth_of_its_windows(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run.main([*tiny_run.arguments, "--merge", "--export", "parquet"])
    detections = pd.read_parquet(tiny_run.run_paths.submission_dir / "detections.parquet")
    other = pd.DataFrame({"clip": ["not predicted"], "start_s": [0.0], "end_s": [1.0], "label": LABELS[:1]})
    pd.concat([detections, other]).to_csv(tiny_run.run_paths.events_csv, index=False)
    capsys.readouterr()
    main(tiny_run.arguments)
    printed = capsys.readouterr().out
    for kind in ("event", "segment"):
        assert re.search(rf"^{kind} +1.0000 +1.0000 +0.0000$", printed, flags=re.M), printed
    assert (tiny_run.run_paths.submission_dir / "event_metrics.csv").exists()


def test_a_submission_without_windows_is_scored_by_clips(
    tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = scored[2].with_name("events.tsv")
    path.write_text(f"filename\tonset\toffset\tevent_label\n3.wav\t0\t1\t{LABELS[0]}\n")
    main([*tiny_run.arguments, "--truth", str(path)])
    printed = capsys.readouterr().out
    assert "has no windows of its own beside it" in printed
    assert re.search(r"^micro F1 +0\.", printed, flags=re.M)


def test_windows_of_which_no_score_was_kept_are_not_called_absent(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.main([*tiny_run.arguments, "--min_score", "1"])
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    truth = pd.DataFrame({"fname": test["clip"], "start_s": 0.0, "end_s": 0.1, "label": LABELS[0]})
    truth.to_csv(tmp_path / "events.csv", index=False)
    main([*tiny_run.arguments, "--truth", str(tmp_path / "events.csv")])
    assert "or none with a score (--min_score): there are no metrics of windows and events" in capsys.readouterr().out


def test_events_of_an_unknown_recording_are_refused(
    tiny_run: TinyRun, scored: tuple[np.ndarray, np.ndarray, Path]
) -> None:
    path = scored[2].with_name("events.tsv")
    path.write_text("filename\tonset\toffset\tevent_label\nelsewhere.wav\t0\t1\tlow\n")
    with pytest.raises(UserError, match=r"events\.tsv line 2: there is no recording 'elsewhere\.wav'"):
        main([*tiny_run.arguments, "--truth", str(path)])
