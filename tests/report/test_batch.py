"""make batch: the page shows what the training gets, sound has the frames it was made of, names stay text."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from core.errors import UserError
from core.paths import RunPaths
from preprocess.dataset.clip_table import COLUMNS, write_clip_table
from preprocess.dataset.labels import write_vocabulary
from preprocess.frames import compute_frames
from preprocess.store.encoding import encoding_for
from preprocess.store.writer import write_store
from recipe import Features, Recipe, Training, as_dict
from report import batch
from report.augmentation.inversion import invert_frames
from report.augmentation.steps import AFTER_ALL, BEFORE, augment_first_clips
from tests.browser import check_looks, open_browser, wait_until
from tests.predict.conftest import FEATURES, LABELS, make_tiny_run
from tests.row_sources import row_source_of
from train.loop.load_job import load_fold_job

FEATURE_KEYS = [f"--features.{key}={value}" for key, value in as_dict(FEATURES).items() if value not in (None, [])]
TRAINING = Training(
    batch_size=4,
    crop_seconds=0.5,
    gain_probability=0.5,
    gain_db=20.0,
    time_roll_probability=1.0,
    mixup_probability=0.6,
    crossfade_probability=0.4,
    noise_probability=0.5,
)
CHROMA = Features(kind="cqt_chroma", sample_rate_hz=22_050, hop_length=512, n_bins=12, fmin_hz=32.703)


@pytest.fixture(scope="module")
def run_paths(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Six training clips with odd names in two folds."""
    return make_tiny_run(tmp_path_factory.mktemp("batch")).run_paths


@pytest.fixture(scope="module")
def browser(run_paths: RunPaths) -> Iterator[webdriver.Chrome]:
    """The page is open."""
    keys = "--name tiny --clips 3 --fold 1 --jobs 1 --training.batch_size 4 --training.crop_seconds 0.5"
    augmentations = "--training.gain_probability 0.5 --training.mixup_probability 1"
    batch.main([*FEATURE_KEYS, "--cache", str(run_paths.cache), *keys.split(), *augmentations.split()])
    page = run_paths.dataset_dir / "batch.html"
    with open_browser() as chrome:
        chrome.get(page.as_uri())
        yield chrome


def test_the_last_step_is_the_batch_that_trains_the_network(run_paths: RunPaths) -> None:
    recipe = Recipe("tiny", features=FEATURES, training=TRAINING)
    job = load_fold_job(recipe, run_paths, torch.device("cpu"), fold=None, seed=5)
    steps = {each.step: each for each in augment_first_clips(job, 4)}
    assert list(steps) == [BEFORE, "time_roll", "gain", "mixup", "crossfade", "noise", AFTER_ALL]
    first, bank = next(iter(job.batches(0))), job.training_set.frame_bank
    assert torch.equal(steps[AFTER_ALL].x, first.x) and torch.equal(steps[AFTER_ALL].y, first.y)
    before = steps[BEFORE]
    assert all(torch.equal(each.rows, first.rows) for each in steps.values())
    for row, crop, target in zip(before.rows.tolist(), before.x, before.y, strict=True):
        windows = bank.clip_frames(row).unfold(0, len(crop), 1).transpose(1, 2)
        assert (windows == crop).all(2).all(1).any()  # it is a crop of that clip
        assert torch.equal(target, job.training_set.targets[row])
        assert job.training_set.folds[row] != job.fold
    change = steps["gain"].x - before.x
    assert torch.allclose(change, change[:, :1, :1], atol=1e-4) and (change[:, 0, 0].abs() > 0.01).all()
    assert all((each.x != before.x).any() for step, each in steps.items() if step != BEFORE)
    assert all(torch.equal(steps[step].y, before.y) for step in ("gain", "noise", "time_roll"))
    assert torch.equal(steps["crossfade"].y.unique(), torch.tensor([0.0, 1.0]))  # a union
    assert ((steps["mixup"].y > 0) & (steps["mixup"].y < 1)).any()
    mixed = steps["mixup"]  # values and labels are sums of the batch's by their shares
    for index, shares in enumerate(mixed.shares):
        places = [before.rows.tolist().index(row) for row in shares]
        crops = itertools.product(*(before.x[before.rows == row] for row in shares))  # a clip may have two in a batch
        weights = torch.tensor(list(shares.values()))
        assert len(shares) == 2 and weights.sum() == pytest.approx(1)
        assert torch.allclose(mixed.y[index], weights @ before.y[places], atol=1e-6)
        expected = [torch.einsum("i,ijk", weights, torch.stack(some)) for some in crops]
        assert any(torch.allclose(mixed.x[index], each, atol=1e-3) for each in expected)
    assert all(each == {row: 1} for row, each in zip(before.rows.tolist(), before.shares, strict=True))
    assert all(len(each) == 2 and sum(each.values()) == pytest.approx(1) for each in steps["crossfade"].shares)
    assert len(next(augment_first_clips(job, 3)).x) == 3 and len(next(augment_first_clips(job, 4)).x) == 4


def test_shares_are_of_clips_where_labels_are_in_time(tmp_path: Path) -> None:
    run = make_tiny_run(tmp_path)
    training = run.table[run.table["split"] == "train"]
    events = {"clip": training["clip"], "start_s": 0.2, "end_s": 0.7, "label": training["labels"]}
    pd.DataFrame(events).to_csv(run.run_paths.events_csv, index=False)
    recipe = Recipe(
        "tiny", features=FEATURES, training=replace(TRAINING, mixup_probability=1.0, crossfade_probability=0)
    )
    job = load_fold_job(recipe, run.run_paths, torch.device("cpu"), fold=None, seed=5)
    assert job.training_set.events
    steps = {each.step: each for each in augment_first_clips(job, 4)}
    assert [list(each) for each in steps[BEFORE].shares] == [[row] for row in steps[BEFORE].rows.tolist()]
    assert steps[BEFORE].y.shape[1] == len(LABELS)
    for step in (BEFORE, "mixup", AFTER_ALL):
        assert [sum(each.values()) for each in steps[step].shares] == pytest.approx([1] * 4)
    assert {len(each) for each in steps["mixup"].shares} == {2}


@pytest.mark.parametrize(
    "features",
    [
        Features(sample_rate_hz=16_000, n_fft=1024, hop_length=250, n_bins=48),
        Features(kind="stft", sample_rate_hz=16_000, n_fft=512, hop_length=200, n_bins=96, frames_per_second=50.0),
        Features(kind="cqt", sample_rate_hz=16_000, hop_length=256, n_bins=36, fmin_hz=220.0),
        Features(kind="waveform", sample_rate_hz=16_000, n_bins=1, storage="int16"),
    ],
    ids=lambda features: features.kind,
)
def test_sound_has_the_frames_it_was_made_of(features: Features) -> None:
    dull_noise = np.convolve(np.random.default_rng(0).standard_normal(16_000), np.ones(8) / 8, "same")
    pulses = np.arange(16_000) // 2_000 % 2 + 0.05
    sound = (0.3 * dull_noise * pulses).astype(np.float32)
    frames = compute_frames(sound, features)
    again = compute_frames(invert_frames(frames, features).astype(np.float32), features)
    n_frames = min(len(frames), len(again))
    assert n_frames >= 0.97 * len(frames)
    assert np.corrcoef(frames[:n_frames].ravel(), again[:n_frames].ravel())[0, 1] > 0.9
    loud = frames[:n_frames] > frames.max() - 10
    assert abs(float((again[:n_frames] - frames[:n_frames])[loud].mean())) < 2  # dB


def test_chroma_are_played_in_one_octave_and_averaged_bins_are_spread() -> None:
    frames = np.zeros((40, 12), np.float32)
    frames[:, 9] = 1
    sound = invert_frames(frames, CHROMA).astype(np.float32)
    assert np.argmax(np.abs(np.fft.rfft(sound))) * 22_050 / len(sound) == pytest.approx(440, rel=0.01)
    features = Features(sample_rate_hz=8_000, n_fft=512, hop_length=128, n_bins=24, fmax_hz=4_000.0)
    halved = np.full((20, 12), -60, np.float32)
    halved[:, 5] = 0
    mean = compute_frames(invert_frames(halved, features).astype(np.float32), features).mean(axis=0)
    assert set(np.argsort(mean)[-2:].tolist()) == {10, 11}


def test_the_page_shows_each_step_and_names_stay_text(browser: webdriver.Chrome, run_paths: RunPaths) -> None:
    script = browser.execute_script
    assert browser.title == "tiny, a batch · Earmark"
    assert browser.get_log("browser") == []
    assert (
        script("return performance.getEntriesByType('resource').filter(each => !each.name.startsWith('data:'))") == []
    )
    steps = "return [...document.querySelectorAll('article')].map(each => each.dataset.step)"
    assert script(steps) == 3 * ["before", "gain", "mixup", "after all"]
    names = script("return [...document.querySelectorAll('section h2')].slice(1).map(each => each.textContent)")
    assert all(name.endswith(' <b>"é"</b>.wav') for name in names)
    mixed = script(
        "return [...document.querySelectorAll('[data-step=mixup]')].map(card => "
        "[...card.querySelectorAll('li')].map(each => [...each.children].map(part => part.textContent)))"
    )
    for weights in mixed:
        assert {label for label, _, _ in weights} <= set(LABELS)
        assert sum(float(weight) for _, _, weight in weights) == pytest.approx(1, abs=0.011)
    assert any(len(weights) == 2 for weights in mixed)
    partners = script("return [...document.querySelectorAll('[data-step=mixup] .mixed')].map(e => e.textContent)")
    assert len(partners) == 3
    assert all(re.fullmatch(r'mixed with train\d <b>"é"</b>\.wav \(\d+ %\)', each) for each in partners)
    assert not script("return document.querySelector('[data-step=gain] .mixed')")
    assert script("return [...document.querySelectorAll('img')].every(each => each.naturalWidth > 0)")
    assert "50 %" in script("return document.querySelector('table').textContent")
    assert script("return document.documentElement.scrollWidth <= innerWidth")


def test_one_augmentation_can_be_chosen_and_played(browser: webdriver.Chrome) -> None:
    script = browser.execute_script
    shown = "return [...document.querySelectorAll('article')].filter(e => e.offsetHeight).map(e => e.dataset.step)"
    select = Select(browser.find_element("css selector", "select"))
    select.select_by_visible_text("gain")
    assert script(shown) == 3 * ["before", "gain"]
    script("document.querySelector('[data-step=gain] audio').load()")
    duration = "return document.querySelector('[data-step=gain] audio').duration"
    assert wait_until(lambda: script(duration)) == pytest.approx(0.5, abs=0.1)
    select.select_by_visible_text("all")
    assert len(script(shown)) == 12


def test_the_page_fits_a_phone_and_the_dark(browser: webdriver.Chrome) -> None:
    check_looks(browser, "batch")


def test_chroma_have_a_page_and_what_they_do_not_allow_is_refused(tmp_path: Path) -> None:
    folder, random = tmp_path / "cache" / "pitch", np.random.default_rng(0)
    frames = {f"{number}.wav": random.random((50, 12)).astype(np.float16) for number in range(4)}
    row_sources = [row_source_of(values, tmp_path, clip) for clip, values in frames.items()]
    rows = [
        (clip, f"/{clip}", "CD"[number % 2], number % 2, "train", clip, "curated") for number, clip in enumerate(frames)
    ]
    digests = {each.row.clip: each.row.digest for each in row_sources}
    write_clip_table(folder / "clips.csv", pd.DataFrame(rows, columns=COLUMNS), digests)
    write_vocabulary(folder / "labels.csv", ["C", "D"])
    write_store(folder / "features.h5", CHROMA, encoding_for(CHROMA), row_sources)
    keys = [f"--features.{key}={value}" for key, value in as_dict(CHROMA).items() if value not in (None, [])]
    arguments = [*keys, "--name", "pitch", "--cache", str(tmp_path / "cache"), "--training.crop_seconds", "0.5"]
    batch.main([*arguments, "--clips", "1", "--jobs", "1", "--training.pitch_roll_probability", "0.5"])
    html = (folder / "batch.html").read_text(encoding="utf-8")
    assert html.count("<article") == html.count('src="data:audio/mpeg') == 3
    assert "in the octave from C4 on" in html
    with pytest.raises(UserError, match=r"training\.gain_probability: no sense for features\.kind = cqt_chroma"):
        batch.main([*arguments, "--training.gain_probability", "1"])


def test_what_is_not_there_is_named(run_paths: RunPaths) -> None:
    arguments = ["--name", "tiny", "--cache", str(run_paths.cache)]
    with pytest.raises(UserError, match="there is no fold 7, only 0, 1"):
        batch.main([*arguments, *FEATURE_KEYS, "--fold", "7"])
    with pytest.raises(UserError, match="make features"):
        batch.main(["--name", "none", "--cache", str(run_paths.cache)])
    with pytest.raises(UserError, match="features"):
        batch.main([*arguments, *FEATURE_KEYS, "--features.n_bins", "12"])


def test_a_recipe_without_augmentations_has_two_steps(run_paths: RunPaths) -> None:
    recipe = Recipe("tiny", features=FEATURES, training=replace(Training(batch_size=4), crop_seconds=0.5))
    job = load_fold_job(recipe, run_paths, torch.device("cpu"), fold=1)
    before, after = augment_first_clips(job, 2)
    assert (before.step, after.step) == (BEFORE, AFTER_ALL)
    assert torch.equal(before.x, after.x)
