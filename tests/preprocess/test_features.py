"""make features from the command line: repairable, the same for any number of jobs."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from core.errors import UserError
from core.file_lock import file_lock
from core.parallel import run_parallel
from preprocess.build import store_update
from preprocess.build.shard_task import ShardResult
from preprocess.features import add_options
from preprocess.store.file_identity import stat_fingerprint
from preprocess.store.reader import open_store
from recipe import as_dict
from recipe.cli import parse_command
from tests.preprocess.bad_recordings import REASONS, TO_BLAME, let_recordings_be_bad, write_noise
from tests.preprocess.feature_runs import arguments, make, same_bytes_as_clean, start, store_path


def test_the_store_is_the_same_for_one_job_and_two(recordings: Path) -> None:
    assert make(recordings, "made", "--jobs", "1") == 0
    assert same_bytes_as_clean(recordings)
    table = pd.read_csv(store_path(recordings).with_name("clips.csv"))
    with open_store(store_path(recordings)) as store:
        assert store.clips == list(table["clip"])
        np.testing.assert_allclose(store.duration_s, [soundfile.info(path).duration for path in table["path"]])
        assert (np.diff(store.offsets) == 1 + store.duration_s * 16_000 // 160).all()
    assert sorted(path.name for path in store_path(recordings).parent.iterdir()) == [
        ".lock",
        "clips.csv",
        "features.h5",
        "labels.csv",
    ]


def test_nothing_to_do_is_said_and_nothing_is_written(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(recordings)
    before = store_path(recordings).stat()
    monkeypatch.setattr(store_update, "run_parallel", None)
    assert make(recordings) == 0
    assert "nothing to do" in capsys.readouterr().err
    after = store_path(recordings).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_recording_that_changes_meanwhile_is_named_and_read_the_next_time(
    recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as before_it_changes:
        before_it_changes.setattr(
            store_update,
            "stat_fingerprint",
            lambda path: "1:1:1:1" if path.endswith("04.wav") else stat_fingerprint(path),
        )
        assert make(recordings) == 0
    assert "1 of 18 recordings changed while they were read" in capsys.readouterr().err
    with open_store(store_path(recordings)) as store:
        assert len(store.clips) == 17
    make(recordings)
    assert same_bytes_as_clean(recordings)


def test_a_sample_submission_of_another_dataset_is_gone(recordings: Path) -> None:
    sample = store_path(recordings).with_name("sample_submission.csv")
    sample.parent.mkdir(parents=True)
    sample.write_text("fname,a\nx.wav,0\n")
    make(recordings)
    assert not sample.exists()


def test_added_changed_and_removed_recordings_alone_are_computed_or_dropped(
    recordings: Path, computed: list[str]
) -> None:
    make(recordings)
    computed.clear()
    soundfile.write(recordings / "cat" / "new.wav", np.random.default_rng(99).uniform(-1, 1, 5_000), 16_000)
    soundfile.write(recordings / "dog" / "02.wav", np.random.default_rng(98).uniform(-1, 1, 5_000), 16_000)
    (recordings / "dog" / "04.wav").unlink()
    make(recordings)
    assert computed == ["cat/new.wav", "dog/02.wav"]
    with open_store(store_path(recordings)) as store:
        assert "dog/04.wav" not in store.clips
    assert same_bytes_as_clean(recordings)


def test_recordings_that_change_their_names_are_told_apart(recordings: Path, computed: list[str]) -> None:
    """Of one length and one time of change, as archives may have them."""
    one, other, third = (recordings / "cat" / name for name in ("1.wav", "2.wav", "3.wav"))
    for number, path in enumerate((one, other, third)):
        soundfile.write(path, np.random.default_rng(number).uniform(-1, 1, 5_000), 16_000)
        os.utime(path, ns=(0, 10**18))
    make(recordings)
    computed.clear()
    one.rename(recordings / "aside")
    other.rename(one)
    (recordings / "aside").rename(other)
    make(recordings)
    assert computed == ["cat/1.wav", "cat/2.wav"]
    assert same_bytes_as_clean(recordings)


def test_a_changed_recipe_is_told_by_key_and_computes_all(
    recordings: Path, computed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make(recordings)
    computed.clear()
    make(recordings, "made", "--features.n_bins", "20")
    told = capsys.readouterr().err
    assert "the recipe has changed (features.n_bins was 32, is 20)" in told and "runs trained" not in told
    assert len(computed) == 18
    assert same_bytes_as_clean(recordings, "--features.n_bins", "20")
    for name, n_bins in (("first", 20), ("second", 20), (".second.new", 20), ("same", 32), ("damaged", None)):
        run_dir = store_path(recordings).parent / "runs" / name
        run_dir.mkdir(parents=True)
        recipe = parse_command(
            arguments(recordings, "made", "--features.n_bins", str(n_bins or 20)), "test", add_options
        ).recipe
        (run_dir / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe)) if n_bins else "[")
    make(recordings)
    assert "runs of other features (first, second) cannot predict from the new frames" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["flip", "cut", "junk"])
def test_a_damaged_store_is_repaired(
    recordings: Path, computed: list[str], capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    make(recordings)
    computed.clear()
    path = store_path(recordings)
    with open_store(path) as store:
        at = store.frames_at + int(store.offsets[3]) * 64 + 5
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "junk": b"junk"}[harm])
    make(recordings)
    assert "computed again" in capsys.readouterr().err
    assert len(computed) == (1 if harm == "flip" else 18)
    assert same_bytes_as_clean(recordings)


def test_unreadable_recordings_are_reported_once_and_tried_when_they_change(
    recordings: Path, computed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = recordings / "cat" / "bad\n«file», 1.wav"
    bad.write_bytes(b"<html>not found</html>")
    assert make(recordings, "made", "--max_failures", "0.1") == 0
    assert "warning: 1 of 19 recordings could not be read" in capsys.readouterr().err
    failed = pd.read_csv(store_path(recordings).with_name("failed.csv"))
    assert failed[["clip", "path"]].to_numpy().tolist() == [[f"cat/{bad.name}", str(bad)]]
    assert "neither soundfile nor PyAV can read it" in failed["reason"][0]
    computed.clear()
    assert make(recordings, "made", "--max_failures", "0.01") == 1
    assert computed == []
    assert "more than --max_failures 0.01" in capsys.readouterr().err
    soundfile.write(bad, np.ones(3_000) / 2, 16_000)
    assert make(recordings) == 0
    assert computed == [f"cat/{bad.name}"]
    assert not store_path(recordings).with_name("failed.csv").exists()
    assert same_bytes_as_clean(recordings)


def test_frames_of_recordings_that_are_away_for_a_while_are_kept(
    recordings: Path, computed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cats = sorted((recordings / "cat").iterdir())
    (recordings.parent / "disk").mkdir()
    for path in cats:
        path.rename(recordings.parent / "disk" / path.name)
        path.symlink_to(recordings.parent / "disk" / path.name)
    make(recordings)
    before = {name: store_path(recordings).with_name(name).read_bytes() for name in ("features.h5", "clips.csv")}
    soundfile.write(recordings / "dog" / "new.wav", np.random.default_rng(99).uniform(-1, 1, 5_000), 16_000)
    (recordings.parent / "disk").rename(recordings.parent / "away")
    assert make(recordings) == 1
    said = f"features.h5 stays as it is, with the frames of {len(cats)} recordings that cannot be read now"
    assert said in capsys.readouterr().err
    assert before == {name: store_path(recordings).with_name(name).read_bytes() for name in before}
    computed.clear()
    (recordings.parent / "away").rename(recordings.parent / "disk")
    assert make(recordings) == 0
    assert computed == []
    assert same_bytes_as_clean(recordings)


def read_sources(folder: Path) -> dict[str, str]:
    """The column `source` of failed.csv by clip."""
    table = pd.read_csv(store_path(folder).with_name("failed.csv"), keep_default_na=False)
    return dict(zip(table["clip"], table["source"], strict=True))


def test_recordings_are_tried_again_unless_they_are_to_blame(
    recordings: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {f"cat/{name}.wav": reason for name, reason in REASONS.items()}
    to_blame = {f"cat/{name}.wav" for name in (*TO_BLAME, "damaged")}
    for seed, clip in enumerate(expected):
        write_noise(recordings / clip, seed)
    (recordings / "cat" / "damaged.wav").write_bytes(b"no sound")
    with monkeypatch.context() as bad:
        let_recordings_be_bad(bad)
        assert make(recordings, "made", "--max_failures", "0.5") == 0
    assert "warning: 7 of 25 recordings could not be read" in capsys.readouterr().err
    failed = pd.read_csv(store_path(recordings).with_name("failed.csv"))
    reasons = dict(zip(failed["clip"], failed["reason"], strict=True))
    assert reasons == expected | {"cat/damaged.wav": "neither soundfile nor PyAV can read it (Format not recognised)"}
    assert {clip for clip, source in read_sources(recordings).items() if source} == to_blame
    computed.clear()
    assert make(recordings, "made", "--max_failures", "0.5") == 0
    assert sorted(computed) == sorted(reasons.keys() - to_blame)
    assert read_sources(recordings).keys() == to_blame
    computed.clear()
    assert make(recordings, "made", "--max_failures", "0.5", "--retry_failed") == 0
    assert sorted(computed) == sorted(to_blame)
    assert read_sources(recordings).keys() == {"cat/damaged.wav"}
    assert same_bytes_as_clean(recordings, "--max_failures", "0.5")


def test_failures_of_another_recipe_are_tried_again(recordings: Path, computed: list[str]) -> None:
    (recordings / "cat" / "bad.wav").write_bytes(b"no sound")
    make(recordings, "made", "--max_failures", "0.1")
    computed.clear()
    make(recordings, "made", "--max_failures", "0.1", "--features.n_bins", "20")
    assert "cat/bad.wav" in computed


def test_what_could_not_be_read_before_an_interrupt_is_not_tried_again(
    recordings: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = recordings / "cat" / "bad.wav"
    bad.write_bytes(b"no sound")

    def interrupted(*arguments: Any) -> Iterator[list[ShardResult]]:
        with closing(run_parallel(*arguments)) as results:
            for result in results:
                yield result
                if any(clip_result.error for shard in result for clip_result in shard.clip_results):
                    raise KeyboardInterrupt

    with monkeypatch.context() as first, pytest.raises(KeyboardInterrupt):
        first.setattr(store_update, "run_parallel", interrupted)
        make(recordings)
    assert read_sources(recordings).keys() == {f"cat/{bad.name}"}
    computed.clear()
    assert make(recordings, "made", "--max_failures", "0.1") == 0
    assert f"cat/{bad.name}" not in computed
    assert read_sources(recordings).keys() == {f"cat/{bad.name}"}


def test_an_error_that_every_recording_meets_stops_the_command_and_blames_none(
    recordings: Path, computed: list[str], tmp_path: Path
) -> None:
    """As where a package is broken that only the decoding processes import."""
    (tmp_path / "broken" / "librosa").mkdir(parents=True)
    (tmp_path / "broken" / "librosa" / "__init__.py").write_text("raise ImportError('librosa is broken')")
    (recordings / "cat" / "damaged.wav").write_bytes(b"no sound" * 5_000)  # it comes first
    cqt = ["--features.kind", "cqt", "--features.n_bins", "24", "--max_failures", "0.1", "--jobs", "1"]
    process = start(recordings, *cqt, environment={"PYTHONPATH": str(tmp_path / "broken")})
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    last = errors.splitlines()[-1]
    assert last.startswith("earmark: every recording fails, so the fault is not theirs; the first: ")
    assert last.endswith(": ImportError: librosa is broken")
    assert "Traceback" not in errors
    assert not store_path(recordings).exists()
    failed_csv = store_path(recordings).with_name("failed.csv")
    assert not failed_csv.exists() or not any(read_sources(recordings).values())
    assert make(recordings, "made", *cqt) == 0
    assert len(computed) == 19
    assert read_sources(recordings).keys() == {"cat/damaged.wav"}
    with open_store(store_path(recordings)) as store:
        assert len(store.clips) == 18


def test_as_many_jobs_are_said_as_start(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(recordings, "made", "--jobs", "16")
    assert "18 clips: 0 are done, 18 to compute with 3 jobs" in capsys.readouterr().err


def test_no_readable_recording_at_all_is_bad_input(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "data" / label / f"{label}{number}.wav").write_bytes(b"")
    with pytest.raises(UserError, match="none of the 4 recordings could be read"):
        make(tmp_path / "data")
    assert not store_path(tmp_path / "data").exists()


def test_mel_bands_without_a_bin_are_said(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(recordings, "made", "--features.n_fft", "64", "--features.n_bins", "300")
    assert "of 300 mel bands hold no bin of an n_fft of 64" in "".join(capsys.readouterr())


def test_two_at_once_in_one_folder_are_refused(recordings: Path) -> None:
    with (
        file_lock(store_path(recordings).parent / ".lock", "make features"),
        pytest.raises(UserError, match="another make features is at work"),
    ):
        make(recordings)


def test_copies_are_made_of_training_clips_alone(tmp_path: Path) -> None:
    names = [f"{number}.wav" for number in range(6)]
    for seed, name in enumerate(names):
        soundfile.write(tmp_path / name, np.random.default_rng(seed).uniform(-0.5, 0.5, 8_000), 16_000)
    splits = ["train"] * 4 + ["test"] * 2
    pd.DataFrame({"fname": names, "labels": list("ababab"), "split": splits}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    augmentations = [
        "--features.pitch_shifts",
        "[-2, 2]",
        "--features.time_stretches",
        "[2]",
        "--features.noise_snrs_db",
        "[10]",
    ]
    make(tmp_path, "made", "--data.layout", "csv", *augmentations, "--jobs", "1")
    with open_store(store_path(tmp_path)) as store:
        assert store.clips == [name for name in names[:4] for _ in range(5)] + names[4:]
        assert store.variants.tolist() == [0, 1, 2, 3, 4] * 4 + [0, 0]
        assert np.diff(store.offsets).tolist() == [51, 51, 51, 26, 51] * 4 + [51, 51]
        assert len(set(store.digests)) == 22
