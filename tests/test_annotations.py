"""Labels in time, from tables of events and recordings to the scores of windows and of recordings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.csv_tables import read_table
from core.errors import UserError
from recipe.cli import parse_command
from tests.make_commands import ROOT, SMALL_RECIPE, make, run_in_process
from train.data.crops import gather_crops
from train.data.training_set import load_training_set
from train.loop.fold_job import FoldJob

RATE_HZ = 16_000
TONES_HZ = {"low": 400.0, "high": 3_000.0}
KEYS = f"{SMALL_RECIPE} --data.layout annotations --training.min_overlap_s 0.1 --prediction.pooling max"
Events = list[tuple[str, float, float, str]]


def write_field_recordings(folder: Path, n: int = 6, seconds: float = 6.0, before_s: float = 0.0) -> Events:
    """Recordings of noise with a tone now and then, site0/0.wav and so on, silence before; returns the tones."""
    random, events = np.random.default_rng(0), Events()
    for number in range(n):
        sound = 0.02 * random.standard_normal(int(seconds * RATE_HZ))
        name = f"site{number % 3}/{number}.wav"
        starts_s = [at_s + random.uniform(0, 0.4) for at_s in np.arange(0.2, seconds - 1.0, 1.5)]
        for index, start_s in enumerate(starts_s):
            label, length_s = list(TONES_HZ)[(index + number) % 2], random.uniform(0.2, 0.6)
            span = slice(int(start_s * RATE_HZ), int((start_s + length_s) * RATE_HZ))
            time_s = np.arange(span.stop - span.start) / RATE_HZ
            sound[span] += 0.3 * np.sin(2 * np.pi * TONES_HZ[label] * random.uniform(0.95, 1.05) * time_s)
            events.append((name, before_s + start_s, before_s + start_s + length_s, label))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.concatenate([np.zeros(int(before_s * RATE_HZ)), sound]), RATE_HZ)
    return events


def write_raven(path: Path, events: Events) -> None:
    """One selection table over all recordings, each selection in two views."""
    lines = ["Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tSpecies"]
    for number, (name, start_s, end_s, label) in enumerate(events, 1):
        for view in ("Waveform 1", "Spectrogram 1"):
            path_there = f"D:\\field\\{name}".replace("/", "\\")
            times = f"{100 + start_s:.6f}\t{100 + end_s:.6f}\t{path_there}\t{start_s:.6f}"
            lines.append(f"{number}\t{view}\t1\t{times}\t{label}")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def label_windows(windows: pd.DataFrame, events: Events, overlap_s: float = 0.1) -> pd.DataFrame:
    """0 or 1 of each label for each window of a table, by a loop."""
    truth = pd.DataFrame(0, windows.index, sorted(TONES_HZ))
    for row, (clip, start_s, end_s) in enumerate(windows[["clip", "start_s", "end_s"]].itertuples(index=False)):
        for name, begin_s, stop_s, label in events:
            overlap = min(end_s, stop_s) - max(start_s, begin_s)
            if clip == name and overlap >= min(overlap_s, stop_s - begin_s):
                truth.loc[row, label] = 1
    return truth


def test_a_network_trained_on_events_finds_them_by_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "field"
    events = write_field_recordings(data)
    write_raven(data / "selections.txt", events)
    keys = f"{KEYS} --data.folds 3 --data.group_pattern ^site. --training.epochs 12"
    run_in_process(tmp_path, "features train predict score", keys, data=data)
    printed = capsys.readouterr().out
    dataset, run = tmp_path / "cache" / "demo", tmp_path / "cache" / "demo" / "runs" / "demo"
    clips = read_table(dataset / "clips.csv")
    assert clips.groupby("group")["fold"].nunique().tolist() == [1, 1, 1]
    assert len(read_table(dataset / "events.csv")) == len(events)
    windows = pd.read_csv(run / "oof_windows.csv")
    assert len(windows) == 6 * 24
    truth, scores = label_windows(windows, events), windows[sorted(TONES_HZ)]
    assert 0.2 < truth.to_numpy().mean() < 0.5
    assert scores.to_numpy()[truth.to_numpy() == 1].mean() > 0.8
    assert scores.to_numpy()[truth.to_numpy() == 0].mean() < 0.2
    (line,) = [line.split() for line in printed.splitlines() if line.split()[:1] == ["all"]]
    decided = (scores >= 0.5).to_numpy() == (truth == 1).to_numpy()
    assert int(line[1]) == len(windows)
    assert float(line[-1]) == pytest.approx(decided.mean(), abs=0.02)  # windows whose overlap is a frame off may differ
    assert float(line[-1]) > 0.9
    log = pd.read_csv(run / "fold0" / "log.csv")
    assert log["map"].iloc[-1] > 0.9
    predicted = pd.read_csv(tmp_path / "submissions" / "demo" / "windows.csv")
    predicted = predicted.pivot(index=["clip", "start_s", "end_s"], columns="label", values="score").reset_index()
    assert predicted.shape == (len(windows), 5)
    assert "6 of 6 clips" in printed
    metrics = pd.read_csv(tmp_path / "submissions" / "demo" / "event_metrics.csv").set_index("metric")["value"]
    right = (predicted[sorted(TONES_HZ)] >= 0.5).to_numpy() == (label_windows(predicted, events) == 1).to_numpy()
    assert metrics["window Hamming score"] == pytest.approx(right.mean(), abs=0.01)
    assert metrics["event true"].sum() == len(events)
    assert metrics["segment micro F1"] > 0.6


def test_make_trains_on_a_label_track_a_recording_trimmed_and_resampled(tmp_path: Path) -> None:
    """With a second of silence cut off before each recording, events stay where they sound."""
    data = tmp_path / "field"
    events = write_field_recordings(data, n=4, seconds=4.0, before_s=1.0)
    for name in {name for name, *_ in events}:
        rows = [f"{start_s:.6f}\t{end_s:.6f}\t{label}\n" for clip, start_s, end_s, label in events if clip == name]
        (data / name).with_suffix(".txt").write_text("".join(rows))
    keys = f"{KEYS} --features.trim_top_db 40 --features.sample_rate_hz 8000 --training.epochs 30"
    printed = make(tmp_path, "features train", keys, DATA=data)
    assert "scored are windows of 0.5 s" in printed
    assert "fold 0: an epoch has a crop for each of 4 events, 4 without any" in printed
    windows = pd.read_csv(tmp_path / "cache" / "demo" / "runs" / "demo" / "oof_windows.csv")
    assert windows.groupby("clip")["start_s"].min().between(0.85, 1.05).all()
    truth, scores = label_windows(windows, events).to_numpy(), windows[sorted(TONES_HZ)].to_numpy()
    assert scores[truth == 1].mean() > scores[truth == 0].mean() + 0.4


def test_events_at_the_end_of_an_hour_lie_where_they_sound(tmp_path: Path) -> None:
    """Resampled, at a byte a value, and to a frame of a tenth of a second."""
    data, rate_hz, random = tmp_path / "field", 2_000, np.random.default_rng(0)
    times_s = [(12.0, 13.0), (1799.5, 1801.0), (3598.0, 3599.5)]
    data.mkdir()
    for name in ("a", "b"):
        sound = random.normal(0, 0.01, 3600 * rate_hz)
        for start_s, end_s in times_s:
            span = np.arange(int(start_s * rate_hz), int(end_s * rate_hz))
            sound[span] += 0.5 * np.sin(2 * np.pi * 250 * span / rate_hz)
        soundfile.write(data / f"{name}.flac", sound, rate_hz)
        (data / f"{name}.txt").write_text("".join(f"{start_s}\t{end_s}\ttone\n" for start_s, end_s in times_s))
    keys = (
        f"{KEYS} --features.sample_rate_hz 1000 --features.hop_length 100 --features.n_fft 128 --features.n_bins 8 "
        "--features.storage uint8 --training.crop_seconds 4 --training.epochs 1 --training.event_free_rate 3 "
        "--prediction.window_seconds 4 --prediction.hop_seconds 20"
    )
    run_in_process(tmp_path, "features train", keys, data=data)
    where = ["--recipe", str(ROOT / "recipes" / "demo.yaml"), "--cache", str(tmp_path / "cache"), *keys.split()]
    command = parse_command(where, "test")
    training_set = load_training_set(command.recipe, command.run_paths, torch.device("cpu"))
    assert training_set.frame_bank.frames.dtype == torch.uint8
    loudness = training_set.frame_bank.clip_frames(0).amax(1)
    is_loud = loudness > loudness.max() - 12
    edges = torch.diff(is_loud.int()).nonzero()[:, 0].view(-1, 2) + 1
    assert np.abs(edges.numpy() / 10 - np.array(times_s)).max() <= 0.1
    fold = int(1 - training_set.folds[0])
    job = FoldJob(command.recipe, training_set, fold, 0, tmp_path, torch.device("cpu"))
    crops = job.event_crops(0)
    assert crops
    positions, targets = crops.draw(torch.arange(12)[None], torch.Generator().manual_seed(0))
    assert targets[0, :, 0].tolist() == [1.0] * 3 + [0.0] * 9
    stored = gather_crops(training_set.frame_bank, positions[:, 0], 40, "tile")
    loudest = training_set.frame_bank.dequantise(stored).amax((1, 2))
    assert loudest[:3].min() > loudest[3:].max() + 10
    windows = pd.read_csv(tmp_path / "cache" / "demo" / "runs" / "demo" / "oof_windows.csv")
    assert len(windows) == 2 * 181
    assert windows["end_s"].max() == 3600


def test_moved_events_are_trained_on_anew_and_late_ones_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "field"
    events = write_field_recordings(data, n=4, seconds=2.0)
    keys = f"{KEYS} --training.epochs 1"
    for table, said in ((events, "wrote"), (events, "finished"), ([*events[:-1], (*events[-1][:3], "low")], "anew")):
        write_raven(data / "selections.txt", table)
        run_in_process(tmp_path, "features train", keys, data=data)
        captured = capsys.readouterr()
        assert said in captured.out + captured.err
    write_raven(data / "selections.txt", [*events, ("site0/0.wav", 1.0, 2.5, "low")])
    n_lines = 2 * len(events) + 2
    with pytest.raises(UserError, match=rf"selections.txt line {n_lines}: the event ends at 2.5 s, and site0/0.wav"):
        run_in_process(tmp_path, "features", keys, data=data)
    assert len(read_table(tmp_path / "cache" / "demo" / "events.csv")) == len(events)


def test_keys_that_do_not_suit_events_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "field"
    events = write_field_recordings(data, n=4, seconds=2.0)
    lines = [f"{name},{start_s},{end_s},{label}" for name, start_s, end_s, label in events]
    (tmp_path / "all.csv").write_text("\n".join(["file,begin,end,species", *lines]))
    columns = "'{filename: file, start_s: begin, end_s: end, label: species}'"
    keys = f"{KEYS} --data.table {tmp_path / 'all.csv'} --data.columns {columns}"
    run_in_process(tmp_path, "features", keys, data=data)
    (tmp_path / "corrections.csv").write_text("clip,labels\nsite0/0.wav,low;high\n")
    for more, words in (
        ("--training.loss cross_entropy", "training.loss = cross_entropy"),
        (f"--training.corrections {tmp_path / 'corrections.csv'}", "mend their tables"),
    ):
        with pytest.raises(UserError, match=words):
            run_in_process(tmp_path, "train", f"{keys} {more}", data=data)
