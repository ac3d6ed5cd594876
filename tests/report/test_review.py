"""make review: from a prediction to clips, verdicts given in a browser, thresholds and training data."""

import csv
import json
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from core.errors import UserError
from core.sandbox import SandboxLimits
from predict import run, tune
from preprocess import features
from preprocess.audio.recording_time import parse_name
from report import review
from report.verdicts.clips_table import name_clip
from report.verdicts.cutting import CutTask, cut_recording
from tests.browser import check_looks, is_downloaded, open_browser, wait_until
from tests.make_commands import make
from tests.predict.conftest import LABELS, TinyRun, make_tiny_run

RATE_HZ, SECONDS = 11_025, 0.6
NAMES = ['a<script><b>"é".wav', "day 2/b.flac", "c.wav", "short.wav"]


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TinyRun, Path, list[str]]]:
    """A run that has predicted recordings, these, and the arguments of its commands."""
    folder = tmp_path_factory.mktemp("review")
    tiny_run, field, random = make_tiny_run(folder), folder / "field", np.random.default_rng(1)
    (field / "day 2").mkdir(parents=True)
    for name, seconds in zip(NAMES, [30, 20, 25, 0.5], strict=True):
        sound = random.integers(-(2**15), 2**15, round(seconds * RATE_HZ)).astype(np.int16)
        soundfile.write(field / name, sound, RATE_HZ)
    arguments = [*tiny_run.arguments, "--input", str(field), "--jobs", "1"]
    run.main(arguments)
    yield tiny_run, field, arguments


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def write_verdicts(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([("clip", "label", "verdict", "other"), *rows])


@pytest.fixture
def judged(reviewed: tuple[TinyRun, Path, list[str]]) -> Iterator[tuple[list[str], Path]]:
    """Arguments of make review, and the folder of its clips; it is empty again afterwards."""
    tiny_run, field, arguments = reviewed
    folder = tiny_run.run_paths.input_dir(field) / "review"
    yield [*arguments, "--seconds", str(SECONDS), "--clips", "12", "--min_score", "0"], folder
    folder.rename(folder.with_name(f"review before {time.monotonic_ns()}"))
    (tiny_run.run_paths.run_dir / "thresholds.json").unlink(missing_ok=True)


def test_clips_are_the_samples_about_detections(
    judged: tuple[list[str], Path], reviewed: tuple[TinyRun, Path, list[str]]
) -> None:
    arguments, folder = judged
    review.main([*arguments, "--format", "wav"])
    clips, field = read_csv(folder / "clips.csv"), reviewed[1]
    assert {clip["label"] for clip in clips} == set(LABELS)
    assert len(clips) == 36
    assert {clip["recording"] for clip in clips} >= set(NAMES[:3])
    for clip in clips:
        sound, _ = soundfile.read(field / clip["recording"], dtype="int16")
        found, rate_hz = soundfile.read(folder / clip["clip"], dtype="int32")
        assert rate_hz == RATE_HZ
        length = min(round(SECONDS * RATE_HZ), len(sound))
        middle = (float(clip["window_start_s"]) + float(clip["window_end_s"])) / 2
        first = min(max(round(middle * RATE_HZ - length / 2), 0), len(sound) - length)
        np.testing.assert_array_equal(found >> 16, sound[first : first + length])
        assert (float(clip["start_s"]), float(clip["end_s"])) == pytest.approx(
            (first / RATE_HZ, (first + length) / RATE_HZ), abs=1e-6
        )
    windows = pd.read_csv(folder.parent / "windows.csv").set_index(["clip", "start_s", "label"])["score"]
    for clip in clips:
        key = clip["recording"], float(clip["window_start_s"]), clip["label"]
        assert float(clip["score"]) == pytest.approx(windows[key])
    assert (folder / "review.html").stat().st_size < 15_000_000


def test_clips_of_one_channel_are_on_the_page(reviewed: tuple[TinyRun, Path, list[str]], tmp_path: Path) -> None:
    tiny_run, field = reviewed[0], tmp_path / "stereo"
    field.mkdir()
    sound = 0.3 * np.random.default_rng(0).standard_normal(3 * RATE_HZ)
    soundfile.write(field / "a.wav", np.stack([-sound, sound], 1), RATE_HZ)
    arguments = [*tiny_run.arguments, "--input", str(field), "--jobs", "1", "--features.channel", "1"]
    run.main(arguments)
    review.main([*arguments, "--clips", "1", "--min_score", "0"])
    page = (tiny_run.run_paths.input_dir(field) / "review" / "review.html").read_text(encoding="utf-8")
    assert page.count('"audio": ') == len(LABELS)


def test_verdicts_become_precision_thresholds_and_training_data(
    judged: tuple[list[str], Path],
    reviewed: tuple[TinyRun, Path, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, folder = judged
    tiny_run = reviewed[0]
    review.main(arguments)
    clips = read_csv(folder / "clips.csv")
    cut = {clip["clip"]: (folder / clip["clip"]).stat().st_mtime_ns for clip in clips}
    of_first = [clip for clip in clips if clip["label"] == LABELS[0]]
    ranked = sorted(of_first, key=lambda clip: float(clip["score"]))
    rows = [(clip["clip"], LABELS[0], "yes" if k >= 6 else "no", "") for k, clip in enumerate(ranked)]
    rows[0] = (*rows[0][:2], "other", "new, label")
    write_verdicts(folder / "verdicts.csv", rows)
    text = (folder / "verdicts.csv").read_bytes()
    capsys.readouterr()
    review.main([*arguments, "--precision", "0.9"])
    printed = capsys.readouterr().out
    assert "0 new clips" in printed
    assert "12 verdicts; precision by score" in printed
    assert (folder / "verdicts.csv").read_bytes() == text
    assert cut == {clip: (folder / clip).stat().st_mtime_ns for clip in cut}
    whole = read_csv(folder / "precision.csv")[-1]
    assert [whole[key] for key in ("judged", "right", "precision", "low", "high")] == [
        "12",
        "6",
        "0.5",
        "0.2538",
        "0.7462",
    ]
    training = read_csv(folder / "labels.csv")
    assert {row["fname"]: row["labels"] for row in training if row["labels"]} == {
        clip: other or label for clip, label, verdict, other in rows if verdict != "no"
    }
    run.main(reviewed[2])
    assert "thresholds.json (from 12 reviewed clips, for precision 0.9)" in capsys.readouterr().out
    run.main([*reviewed[2], "--prediction.threshold", "0.4"])
    assert "labels decided at 0.4 by prediction.threshold, not" in capsys.readouterr().out
    tune.main([*tiny_run.arguments, "--jobs", "1", "--tuning.mixtures", "0"])
    assert "thresholds from 12 reviewed clips, for precision 0.9 are replaced" in capsys.readouterr().out
    run.main(reviewed[2])
    assert "reviewed" not in capsys.readouterr().out
    options = ["--data.layout", "csv", "--data.folder", str(folder), "--name", "judged", "--data.folds", "3"]
    features.main([*options, "--cache", str(tmp_path / "cache"), "--jobs", "1", "--features.sample_rate_hz", "8000"])
    table = read_csv(tmp_path / "cache" / "judged" / "clips.csv")
    labels = {row["clip"]: row["labels"] for row in table}
    assert labels == {row["fname"]: row["labels"] or ";" for row in training}


def test_clips_and_verdicts_outlast_other_choices_and_predictions(
    judged: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    review.main([*arguments, "--clips", "3"])
    clips = read_csv(folder / "clips.csv")
    write_verdicts(folder / "verdicts.csv", [(clip["clip"], clip["label"], "no", "") for clip in clips])
    kept = {path: path.read_bytes() for path in [folder / "verdicts.csv", *(folder / clip["clip"] for clip in clips)]}
    windows_csv = folder.parent / "windows.csv"
    text = windows_csv.read_text()
    table = pd.read_csv(windows_csv, dtype={"start_s": "str", "end_s": "str"})
    first = (table["clip"] == clips[0]["recording"]) & (table["label"] == clips[0]["label"])
    table[~first].assign(score=table["score"] / 2).to_csv(windows_csv, index=False)
    try:
        options = ["--clips", "4", "--seed", "1", "--seconds", "0.3", "--choose", "random", "--show_scores"]
        review.main([*arguments, *options])
    finally:
        windows_csv.write_text(text)
    after = read_csv(folder / "clips.csv")
    assert len(after) > len(clips)
    assert [row["clip"] for row in after[: len(clips)]] == [row["clip"] for row in clips]
    assert {path: path.read_bytes() for path in kept} == kept
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert '"score": "' in page
    assert '"score": "nan"' not in page
    n_gone = sum((row["recording"], row["label"]) == (clips[0]["recording"], clips[0]["label"]) for row in clips)
    assert f"{n_gone} judged clips are of windows that the prediction has not" in capsys.readouterr().err
    for before, row in zip(clips, after, strict=False):
        halved = float(before["score"]) / 2
        is_gone = (row["recording"], row["label"]) == (clips[0]["recording"], clips[0]["label"])
        assert row["score"] == "" if is_gone else float(row["score"]) == pytest.approx(halved, rel=1e-4)


def test_verdicts_count_for_their_recording_and_no_other_of_its_name(
    reviewed: tuple[TinyRun, Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_run, found = reviewed[0], dict[str, list[dict[str, str]]]()
    for site in ("a", "b"):
        (tmp_path / site / "20200410").mkdir(parents=True)
        sound = np.random.default_rng(ord(site)).uniform(-0.5, 0.5, RATE_HZ // 2)  # of one window
        soundfile.write(tmp_path / site / "20200410" / "20200410_163000.WAV", sound, RATE_HZ)
    folder = tiny_run.run_paths.input_dir(tmp_path / "a" / "20200410") / "review"

    def review_site(site: str) -> str:
        arguments = [*tiny_run.arguments, "--input", str(tmp_path / site / "20200410"), "--jobs", "1"]
        run.main(arguments)
        capsys.readouterr()
        review.main([*arguments, "--min_score", "0", "--precision", "0.9"])
        found[site] = read_csv(folder / "clips.csv")
        return "".join(capsys.readouterr())

    review_site("a")
    n_clips = len(found["a"])
    assert n_clips == len(LABELS)
    files = {clip["clip"] for clip in found["a"]}
    write_verdicts(folder / "verdicts.csv", [(clip["clip"], clip["label"], "yes", "") for clip in found["a"]])
    said = review_site("b")
    assert f"{n_clips} judged clips are of windows that the prediction has not, or of other recordings" in said
    assert f"training data: {folder / 'labels.csv'}, {len(files)} clips" in said
    assert read_csv(folder / "precision.csv") == []
    assert [clip["clip"] for clip in found["b"][:n_clips]] == [clip["clip"] for clip in found["a"]]
    assert [clip["score"] == "" for clip in found["b"]] == [True] * n_clips + [False] * n_clips
    assert files.isdisjoint(clip["clip"] for clip in found["b"][n_clips:])
    for clip in found["b"]:
        sound, _ = soundfile.read(tmp_path / "ab"[clip["score"] != ""] / "20200410" / clip["recording"], dtype="int16")
        first = round(float(clip["start_s"]) * RATE_HZ)
        cut = soundfile.read(folder / clip["clip"], dtype="int32")[0] >> 16
        np.testing.assert_array_equal(cut, sound[first : first + len(cut)])
    assert "other recordings" not in review_site("a")
    assert [bool(clip["score"]) for clip in found["a"]] == [True] * n_clips + [False] * n_clips
    assert {row["judged"] for row in read_csv(folder / "precision.csv")} == {"1"}
    (tiny_run.run_paths.run_dir / "thresholds.json").unlink(missing_ok=True)


def test_clips_of_an_earlier_version_are_taken_as_of_the_present_recordings(
    judged: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    arguments = [*arguments, "--clips", "2"]
    review.main(arguments)
    text = (folder / "clips.csv").read_bytes()
    pd.read_csv(folder / "clips.csv", dtype="str").drop(columns="source").to_csv(folder / "clips.csv", index=False)
    capsys.readouterr()
    review.main(arguments)
    said = capsys.readouterr()
    assert "0 new clips" in said.out
    assert "clips.csv is of an earlier version: its clips are taken as of the recordings" in said.err
    assert (folder / "clips.csv").read_bytes() == text


@pytest.mark.parametrize(
    "recording",
    ["a/20200410_000000.WAV", "A_0+1_20200410$163000.wav", "2020-04-10T16-30-00+0200.wav", "20200410.wav"],
)
def test_a_clip_s_name_tells_no_time(recording: str) -> None:
    for source in map(str, range(50)):  # of which each makes another digest
        assert parse_name(name_clip(recording, source, 43_200, 100_000, "flac")) is None


def test_thresholds_weigh_all_detections_whatever_min_score_says(
    judged: tuple[list[str], Path], reviewed: tuple[TinyRun, Path, list[str]]
) -> None:
    arguments, folder = judged
    windows_csv, thresholds_json = folder.parent / "windows.csv", reviewed[0].run_paths.run_dir / "thresholds.json"
    text = windows_csv.read_text()
    table = pd.read_csv(windows_csv, dtype={"start_s": "str", "end_s": "str"})
    scores = np.random.default_rng(3).random(len(table)) ** 3
    table.assign(score=scores.round(5)).to_csv(windows_csv, index=False)
    try:
        review.main(arguments)
        clips = sorted(read_csv(folder / "clips.csv"), key=lambda clip: (clip["label"], float(clip["score"])))
        rows = [(clip["clip"], clip["label"], "yes" if k % 12 >= 6 else "no", "") for k, clip in enumerate(clips)]
        write_verdicts(folder / "verdicts.csv", rows)
        found = []
        for min_score in ("0", "0.6", "1"):
            review.main([*arguments, "--min_score", min_score, "--precision", "0.7"])
            found.append(json.loads(thresholds_json.read_text())["thresholds"])
            thresholds_json.unlink()
    finally:
        windows_csv.write_text(text)
    assert found[0] == found[1] == found[2]
    assert all(0 < threshold < 1 for threshold in found[0].values())


def test_clips_of_an_interrupted_review_are_cut_anew(judged: tuple[list[str], Path]) -> None:
    arguments, folder = judged
    review.main([*arguments, "--clips", "1"])
    (folder / "clips.csv").unlink()
    review.main([*arguments, "--clips", "1", "--seconds", "0.3"])
    for clip in read_csv(folder / "clips.csv"):
        length_s = float(clip["end_s"]) - float(clip["start_s"])
        assert soundfile.info(folder / clip["clip"]).duration == pytest.approx(length_s, abs=1e-4)


def test_a_clip_that_a_full_disk_cuts_short_is_not_kept(tmp_path: Path) -> None:
    sound, clip = tmp_path / "sound.wav", tmp_path / "clip.flac"
    soundfile.write(sound, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            cut_recording(CutTask(sound, [0.5], [clip], 1.0, "mean"), SandboxLimits())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not clip.exists()


def test_a_page_that_would_be_too_large_has_some_clips_and_says_so(
    judged: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    monkeypatch.setattr("report.verdicts.judging_page.MAX_MEDIA_BYTES", 150_000)
    review.main(arguments)
    (n_shown,) = re.findall(r"review.html, (\d+) of 36 clips: more would", capsys.readouterr().out)
    assert 3 <= int(n_shown) < 36
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert len(page) < 150_000 + 40_000
    assert f"{n_shown} of 36 clips to judge" in page
    assert page.count('"audio": ') == int(n_shown)


def test_a_clip_that_cannot_be_read_is_not_said_to_be_too_large(
    judged: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    arguments = [*arguments, "--clips", "1", "--seed", "5000000000"]
    review.main(arguments)
    (folder / read_csv(folder / "clips.csv")[0]["clip"]).write_bytes(b"no sound")
    capsys.readouterr()
    review.main(arguments)
    assert "too large" not in capsys.readouterr().out
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert "of 3 clips to judge" in page
    assert "Clips that cannot be read: " in page
    assert "too large" not in page


def test_other_labels_are_those_of_the_latest_prediction(
    judged: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    arguments = [*arguments, "--clips", "1", "--seconds", "0.5", "--labels", LABELS[0]]
    windows_csv = folder.parent / "windows.csv"
    text = windows_csv.read_text()
    table = pd.read_csv(windows_csv, dtype={"start_s": "str", "end_s": "str"})
    is_first, found = table["label"] == LABELS[0], []
    try:
        for scores in (0.1, 0.9):
            table.assign(score=table["score"].where(is_first, scores)).to_csv(windows_csv, index=False)
            review.main(arguments)
            (clip,) = read_csv(folder / "clips.csv")
            found.append(clip["other_labels"])
        table[~is_first].to_csv(windows_csv, index=False)  # in which its window has no score
        write_verdicts(folder / "verdicts.csv", [(clip["clip"], clip["label"], "no", "")])
        capsys.readouterr()
        review.main([*arguments[:-1], LABELS[1]])
    finally:
        windows_csv.write_text(text)
    assert found == ["", ";".join(LABELS[1:])]
    assert read_csv(folder / "clips.csv")[0]["other_labels"] == found[1]
    said = capsys.readouterr().err
    assert "1 clips may hold another label that nobody has judged" in said
    assert "folds would share recordings" not in said  # of no clip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": "clips/none.flac"}, "judges clip 'clips/none.flac', label 'low', which is not in clips.csv"),
        ({"verdict": "maybe"}, "is 'maybe': use yes, no or other"),
        ({"verdict": "other"}, "names no label in column other"),
        ({"other": "x"}, "has 'x' in column other"),
        ({"verdict": "other", "other": "a;b"}, "label 'a;b' holds a ';'"),
    ],
)
def test_wrong_verdicts_are_named(judged: tuple[list[str], Path], changes: dict[str, str], message: str) -> None:
    arguments, folder = judged
    arguments = [*arguments, "--clips", "1"]
    review.main(arguments)
    clip = next(clip["clip"] for clip in read_csv(folder / "clips.csv") if clip["label"] == LABELS[0])
    row = {"clip": clip, "label": LABELS[0], "verdict": "yes", "other": ""} | changes
    write_verdicts(folder / "mine.csv", [(row["clip"], row["label"], row["verdict"], row["other"])])
    before = (folder / "clips.csv").read_bytes()
    with pytest.raises(UserError) as caught:
        review.main([*arguments, "--verdicts", str(folder / "mine.csv")])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (folder / "clips.csv").read_bytes() == before


def test_what_cannot_be_reviewed_is_told(reviewed: tuple[TinyRun, Path, list[str]], tmp_path: Path) -> None:
    tiny_run, _, arguments = reviewed
    for wrong, message in [
        (tiny_run.arguments, "INPUT= is missing"),
        ([*tiny_run.arguments, "--input", str(tmp_path)], "run make predict first"),
        ([*arguments, "--labels", "cat"], "--labels names 'cat'"),
        ([*arguments, "--min_score", "1"], "lower --min_score"),
        ([*arguments, "--seconds", ".inf"], "--seconds inf: must be above 0, and at most 3600"),
        ([*arguments, "--seconds", "0"], "--seconds 0: must be above 0"),
    ]:
        with pytest.raises(UserError, match=message):
            review.main(wrong)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser("--autoplay-policy=no-user-gesture-required") as chrome:
        yield chrome


def press(browser: webdriver.Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def test_clips_are_judged_by_keys_kept_and_downloaded(
    judged: tuple[list[str], Path], browser: webdriver.Chrome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, folder = judged
    arguments = [*arguments, "--clips", "3"]
    review.main(arguments)

    def script(line: str) -> Any:
        return browser.execute_script(f"return {line}")

    browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.get((folder / "review.html").as_uri())
    assert browser.get_log("browser") == []
    items = script("ITEMS.map(item => [item.clip, item.label])")
    assert [label for _, label in items] == sorted(label for label in LABELS for _ in range(3))
    assert not script("ITEMS.some(item => 'score' in item)")
    assert script("document.querySelector('#question').textContent") == f"Is this {items[0][1]}?"
    assert wait_until(lambda: script("player.duration")) == pytest.approx(SECONDS, abs=0.1)
    press(browser, "y", "n", "o", "n", "e", "w", Keys.ENTER, "y", "u", "n", Keys.ARROW_RIGHT, "y")
    assert script("document.querySelector('#progress').textContent") == "5 of 9 clips are judged."
    browser.refresh()
    assert script("document.querySelector('#progress').textContent") == "5 of 9 clips are judged."
    browser.find_element("id", "download").click()
    assert is_downloaded(tmp_path / "verdicts.csv")
    given = [[row["clip"], row["label"], row["verdict"], row["other"]] for row in read_csv(tmp_path / "verdicts.csv")]
    said = [("yes", ""), ("no", ""), ("other", "new"), ("no", ""), None, ("yes", "")]
    assert given == [[*item, *each] for item, each in zip(items, said, strict=False) if each]
    (tmp_path / "verdicts.csv").rename(folder / "verdicts.csv")
    review.main(arguments)
    assert "5 verdicts" in capsys.readouterr().out
    browser.get((folder / "review.html").as_uri())
    browser.execute_script("localStorage.clear()")  # as on another machine
    browser.refresh()
    assert script("document.querySelector('#progress').textContent") == "5 of 9 clips are judged."
    check_looks(browser, "review")


def test_a_page_of_fewer_clips_and_a_newer_file_keep_all_that_is_stored(
    judged: tuple[list[str], Path], browser: webdriver.Chrome
) -> None:
    arguments, folder = judged

    def log(line: str = "0") -> list[list[str]]:
        browser.execute_script(line)
        stored = browser.execute_script("return JSON.parse(localStorage.getItem(STORAGE))")
        return [[each["clip"], each["label"], each["verdict"]] for each in stored]

    review.main([*arguments, "--clips", "1"])
    (folder / "review.html").rename(folder / "older.html")
    review.main([*arguments, "--clips", "3"])
    browser.get((folder / "review.html").as_uri())
    old, new = read_csv(folder / "clips.csv")[0], read_csv(folder / "clips.csv")[-1]
    at = f"at = ITEMS.findIndex(item => item.clip === {json.dumps(new['clip'])} && item.label === '{new['label']}')"
    of_new = [[new["clip"], new["label"], "no"]]
    assert log(f"{at}; judge('no')") == of_new
    browser.get((folder / "older.html").as_uri())
    first = browser.execute_script("return [current().clip, current().label]")
    assert log("judge('yes')") == [*of_new, [*first, "yes"]]
    assert log("undo()") == log("undo()") == of_new
    write_verdicts(folder / "verdicts.csv", [(row["clip"], row["label"], "yes", "") for row in (old, new)])
    review.main([*arguments, "--clips", "3"])  # of a file that is newer than the verdicts
    browser.get((folder / "review.html").as_uri())
    assert browser.execute_script("return [...verdicts().values()].map(each => each.verdict)") == ["yes", "yes"]
    assert browser.find_element("id", "undo").get_attribute("disabled")
    assert [each[2] for each in log("at = 0; judge('no')")] == ["no", "no"]
    browser.execute_script("localStorage.clear()")


def test_another_label_may_be_called_by_its_name(judged: tuple[list[str], Path], browser: webdriver.Chrome) -> None:
    arguments, folder = judged
    review.main([*arguments, "--clips", "1", "--data.label_names", "{low: deep tone}"])
    browser.get((folder / "review.html").as_uri())
    assert browser.execute_script("return current().label") == LABELS[2]
    press(browser, "o", *"deep tone", Keys.ENTER)
    assert browser.execute_script("return current().label") == "low"
    press(browser, "o", *"deep tone", Keys.ENTER)
    given = browser.execute_script("return given().map(each => [each.verdict, each.other])")
    assert given == [["other", "low"], ["yes", ""]]
    browser.execute_script("localStorage.clear()")


def test_the_real_command_names_its_folder(reviewed: tuple[TinyRun, Path, list[str]]) -> None:
    tiny_run, field, _ = reviewed
    root = tiny_run.run_paths.cache.parent
    folder = tiny_run.run_paths.input_dir(field) / "review"
    args = "--name tiny --run tiny --prediction.window_seconds 0.5 --prediction.hop_seconds 0.25 --clips 1 --choose top"
    printed = make(root, "review", f"{args} --min_score 0.2", INPUT=field)
    assert f"listen and judge: {folder / 'review.html'}" in printed
    best = pd.read_csv(folder.parent / "windows.csv").groupby("label")["score"].max()
    found = pd.read_csv(folder / "clips.csv").set_index("label")["score"]
    assert found.to_dict() == pytest.approx({label: score for label, score in best.items() if score >= 0.2})
    folder.rename(folder.with_name("review before"))
