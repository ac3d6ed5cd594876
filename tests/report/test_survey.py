"""make survey's page: its choice of clips, what is computed of them, and the page of a hostile set in a browser."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from selenium import webdriver

from core.errors import UserError
from recipe import Features
from report import survey
from report.dataset.clip_analysis import compute_centroid
from report.dataset.clip_choice import CUT_GROUP, LEAK, REPEATED, choose_sets, deal_clips, rank_clips
from report.dataset.spectra import bin_axis
from report.media.data_uris import MAX_MEDIA_BYTES, limit_media
from tests.browser import check_looks, open_browser, wait_until
from tests.make_commands import SMALL_RECIPE, run_make

HOSTILE = "<b onmouseover=document.title='hacked'>"
RATE_HZ = 8_000
KEYS = f"{SMALL_RECIPE} --features.sample_rate_hz {RATE_HZ} --name odd --clips 30 --data.label_names '{{low: 低い}}'"


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the page of three labels of four half seconds, a sound in two folds and a file that is no sound."""
    root, random = tmp_path_factory.mktemp("survey"), np.random.default_rng(0)
    rows, time_s = ["fname,labels,fold"], np.arange(RATE_HZ // 2) / RATE_HZ
    (root / "data").mkdir()
    for number in range(12):
        name, tone = f"{number} <i>'é'.wav", 0.3 * np.sin(2 * np.pi * 440 * 2 ** (number % 3) * time_s)
        soundfile.write(root / "data" / name, tone + 0.01 * random.standard_normal(len(tone)), RATE_HZ)
        labels = f"low;{HOSTILE}" if number == 2 else ("high", HOSTILE, "low")[number % 3]
        rows.append(f"{name},{labels},{number % 2}")
    shutil.copy(root / "data" / "0 <i>'é'.wav", root / "data" / "copy.wav")
    (root / "data" / "broken.wav").write_bytes(b"<html>")
    rows += ["copy.wav,low,1", "broken.wav,low,0"]
    (root / "data" / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    keys = KEYS.replace("--data.layout folders", "--data.layout csv")
    done = run_make(root, "survey", keys, DATA=root / "data")
    assert done.returncode == 0, done.stderr
    assert f"the page: {root}/cache/odd/survey.html" in done.stdout
    return root


@pytest.fixture(scope="module")
def browser(surveyed: Path) -> Iterator[webdriver.Chrome]:
    """The page is open."""
    with open_browser() as chrome:
        chrome.get((surveyed / "cache/odd/survey.html").as_uri())
        yield chrome


def main_again(surveyed: Path, name: str, *keys: str) -> str:
    """The page of the same measurements, made anew under another name."""
    (surveyed / "cache" / name).mkdir()
    shutil.copy(surveyed / "cache/odd/survey.json", surveyed / "cache" / name)
    small = SMALL_RECIPE.replace("--data.layout folders", "--data.layout csv").split()
    paths = ["--data.folder", str(surveyed / "data"), "--cache", str(surveyed / "cache"), "--name", name]
    survey.main([*small, *paths, "--jobs", "1", *keys])
    return (surveyed / "cache" / name / "survey.html").read_text(encoding="utf-8")


def test_the_page_shows_clips_by_label_and_what_is_wrong(browser: webdriver.Chrome) -> None:
    script = browser.execute_script
    assert browser.title == "odd, data · Earmark"
    assert browser.get_log("browser") == []
    assert (
        script("return performance.getEntriesByType('resource').filter(each => !each.name.startsWith('data:'))") == []
    )
    headings = "return [...document.querySelectorAll('.label > h3')].map(each => each.textContent)"
    assert script(headings) == ["低い", HOSTILE, "high"]
    assert script("return document.querySelectorAll('.label article').length") == 11  # all but the two compared
    compared = "return [...document.querySelectorAll('.compare article h3')].map(each => each.textContent)"
    assert sorted(script(compared)) == ["0 <i>'é'.wav", "copy.wav"]
    assert "broken.wav: neither soundfile nor PyAV" in script("return document.querySelector('details').textContent")
    assert script("return document.querySelectorAll('article figure polyline').length") == 3 * 13
    assert script("return document.querySelectorAll('.spectrum polyline').length") == 3 * 2
    cells = (
        "return [...document.querySelectorAll('.matrix tbody tr')].map(row => [...row.cells].map(e => e.textContent))"
    )
    assert script(cells) == [["低い", "6", "1"], [HOSTILE, "1", "5"]]
    check_looks(browser, "survey")


def test_a_click_sorts_and_a_word_finds(browser: webdriver.Chrome) -> None:
    script = browser.execute_script
    rows = "[...document.querySelectorAll('.sortable tbody tr')].filter(each => each.offsetHeight)"
    names = f"return {rows}.map(each => each.cells[0].textContent)"
    assert script(names) == ["低い", HOSTILE, "high"]
    script("document.querySelector('.sortable thead th button').click()")
    assert script(names) == sorted(script(names))
    search = browser.find_element("css selector", "input[type=search]")
    search.send_keys("high")
    assert script(names) == ["high"]
    assert script("return [...document.querySelectorAll('.label')].filter(each => each.offsetHeight).length") == 1
    search.clear()
    search.send_keys(" ")


def test_the_sound_can_be_played(browser: webdriver.Chrome) -> None:
    browser.execute_script("document.querySelector('.label audio').load()")
    duration_s = wait_until(lambda: browser.execute_script("return document.querySelector('.label audio').duration"))
    assert duration_s == pytest.approx(0.5, abs=0.1)


def test_chroma_and_a_recording_that_broke_since(surveyed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = surveyed / "data" / "3 <i>'é'.wav"
    sound = path.read_bytes()
    path.write_bytes(b"no sound" * 1_000)
    keys = "--features.kind cqt_chroma --features.n_bins 12 --features.fmin_hz 32.7"
    html = main_again(surveyed, "chroma", *keys.split())
    path.write_bytes(sound)
    assert html.count("semitones above C") == 3 * 2  # drawn, and said
    assert html.count('alt="Chroma of ') == 12
    assert html.count("no sound: neither soundfile nor PyAV can read it") == 1
    assert "1 of the page&#39;s" not in html
    assert "1 of the page's 13 clips have no sound, the first 3 <i>'é'.wav" in capsys.readouterr().err


def test_a_waveform_has_log_mel_pictures_and_the_page_is_bounded(
    surveyed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("report.media.data_uris.MAX_MEDIA_BYTES", 30_000)
    keys = "--features.kind waveform --features.n_bins 1 --features.storage int16 --clips 6"
    html = main_again(surveyed, "samples", *keys.split())
    n_players = html.count("<audio")
    assert 0 < n_players < 6 and html.count("no sound: left out") == 6 - n_players
    assert f"{6 - n_players} clips have no pictures and no sound" in html
    assert sum(map(len, re.findall(r'"data:[^"]+"', html))) <= 30_000 + 100
    assert html.count("<article") == 6
    assert "Pictures are log-mel spectrograms" in html
    assert "6 of 14 clips" in html


def test_statistics_of_other_clips_are_refused(surveyed: Path) -> None:
    stats = json.loads((surveyed / "cache/odd/survey.json").read_text(encoding="utf-8"))
    stats["recordings"].pop()
    for name, text, message in [
        ("other", json.dumps(stats), "of other clips"),
        ("damaged", "{", "it is damaged"),
        ("none", None, "run make survey first"),
    ]:
        (surveyed / "cache" / name).mkdir()
        if text:
            (surveyed / "cache" / name / "survey.json").write_text(text, encoding="utf-8")
        arguments = ["--name", name, "--cache", str(surveyed / "cache"), "--data.folder", str(surveyed / "data")]
        with pytest.raises(UserError, match=f"survey.json: .*{message}"):
            survey.main([*arguments, "--data.layout", "csv"])
        assert not (surveyed / "cache" / name / "survey.html").exists()


def make_table(rows: list[tuple[str, str, int, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["clip", "labels", "fold", "label_quality"])
    return table.assign(group=table["clip"])


def test_clips_with_one_checked_label_come_first_and_each_is_shown_once() -> None:
    rows = [
        ("ab", "a;b", 0, "curated"),
        ("noisy", "a", 0, "noisy"),
        ("a1", "a", 0, "curated"),
        ("a2", "a", 1, "curated"),
    ]
    ranked = rank_clips(make_table([*rows, ("negative", ";", 0, "curated"), ("unknown", "", -1, "curated")]), 2**33)
    assert {label: sorted(clips[:2]) for label, clips in ranked.items()} == {"a": ["a1", "a2"], "b": ["ab"]}
    assert ranked["a"][2:] == ["ab", "noisy"]
    assert deal_clips(ranked, 3, without=()) == {"a": ranked["a"][:2], "b": ["ab"]}
    assert deal_clips(ranked, 1, without=["ab"]) == {"a": ranked["a"][:1]}
    assert deal_clips(ranked, 9, without=()) == {"a": [*ranked["a"][:2], "noisy"], "b": ["ab"]}


def test_leaks_are_compared_before_other_copies_and_by_fold() -> None:
    table = make_table(
        [(name, "a", fold, "curated") for name, fold in zip("abcdefgh", [0, 0, 0, 0, 1, 0, 0, 1], strict=True)]
    )
    leak, copies = list("abcde"), ["f", "g"]
    stats = {
        "duplicates": [copies, leak],
        "leaks": [{"clip": leak}],
        "conflicting_labels": [],
        "groups_in_train_and_test": [],
    }
    first, second = choose_sets(stats, table, n_clips=18)
    assert (first.reason, first.clips, first.n_clips) == (LEAK, ["a", "e", "b", "c"], 5)
    assert (second.reason, second.clips) == (REPEATED, copies)
    assert len(choose_sets(stats, table, n_clips=15)) == 1


def test_groups_of_which_nothing_can_be_read_are_not_compared() -> None:
    table = pd.DataFrame({"clip": ["a", "b"], "labels": "x", "fold": [0, -1], "group": "g"}).set_index(
        "clip", drop=False
    )
    found = {"leaks": [], "conflicting_labels": [], "duplicates": [], "groups_in_train_and_test": ["g", "unreadable"]}
    (cut_group,) = choose_sets(found, table, n_clips=18)
    assert (cut_group.reason, cut_group.clips) == (CUT_GROUP, ["a", "b"])


def test_media_behind_the_limit_are_left_out() -> None:
    cards = [{"clip": name, "picture": "data:" + "x" * (MAX_MEDIA_BYTES // 2)} for name in "abc"]
    assert limit_media(cards) == 2
    assert [bool(card["picture"]) for card in cards] == [True, False, False]
    assert "no_sound" not in cards[0] and "too large" in cards[1]["no_sound"]


def test_bins_lie_where_librosa_has_them() -> None:
    mel = Features(n_bins=40, fmin_hz=50, fmax_hz=9_000.0)
    np.testing.assert_allclose(
        1000 * bin_axis(mel)[1], librosa.mel_frequencies(42, fmin=50, fmax=9_000)[1:-1], rtol=1e-6
    )
    cqt = Features(kind="cqt", n_bins=48, fmin_hz=110, bins_per_octave=24)
    expected = librosa.cqt_frequencies(48, fmin=110, bins_per_octave=24)
    np.testing.assert_allclose(1000 * bin_axis(cqt)[1], expected, rtol=1e-6)
    chroma = Features(kind="cqt_chroma", n_bins=36, fmin_hz=32.7, bins_per_octave=36)
    assert bin_axis(chroma)[1][::3].tolist() == list(range(12))


def test_a_tone_s_centroid_is_its_frequency_and_silence_has_none() -> None:
    features = Features(sample_rate_hz=16_000, n_fft=1024)
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    sound = np.concatenate([tone, np.zeros(16_000)]).astype(np.float32)
    time_s, centroid_hz, bandwidth_hz = compute_centroid(sound, features)
    inside = (time_s > 0.1) & (time_s < 0.9)
    np.testing.assert_allclose(centroid_hz[inside], 1_000, atol=10)
    assert bandwidth_hz[inside].max() < 150
    assert np.isnan(centroid_hz[time_s > 1.1]).all()
    assert len(compute_centroid(tone[:10].astype(np.float32), features)[0]) > 0
