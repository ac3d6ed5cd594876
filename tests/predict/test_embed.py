"""make embed and make similar, by their command lines: embeddings are what the last layer gets, and are compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from core.errors import UserError
from predict import embed, similar
from predict.output.embeddings import find_nearest, iter_embeddings
from tests.make_commands import make
from tests.predict.conftest import FRAMES_PER_SECOND, WINDOW, TinyRun
from train.data.crops import pad_short_clip
from train.networks.factory import AudioNetwork
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint

WINDOW_FRAMES, HOP_FRAMES = 40, 20


def load_network(tiny_run: TinyRun, fold: int) -> AudioNetwork:
    path = tiny_run.run_paths.run_dir / f"fold{fold}" / "best.pt"
    return build_network_from_checkpoint(path, load_checkpoint(path))


@torch.inference_mode()
def embed_naively(network: AudioNetwork, frames: torch.Tensor) -> tuple[list[int], np.ndarray]:
    """First frames of windows, and their embeddings [n_windows, n_values], by the network with its last layer off."""
    network.head = network.head[:-1]
    if len(frames) < WINDOW_FRAMES:
        frames = pad_short_clip(frames, WINDOW_FRAMES, "random_tile", "logmel")
    last = len(frames) - WINDOW_FRAMES
    starts = [*range(0, last, HOP_FRAMES), last]
    return starts, torch.cat([network(frames[None, start : start + WINDOW_FRAMES]) for start in starts]).numpy()


def stack(table: pd.DataFrame) -> np.ndarray:
    return np.stack(table["embedding"].tolist()).astype(np.float32)


@pytest.mark.parametrize("options", [[], ["--fold", "1"]])
def test_embeddings_are_what_the_last_layer_gets(
    tiny_run: TinyRun, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--prediction.view_gains_db", "[6.0]", "--prediction.blend", "geometric", "--prediction.pooling", "max"]
    embed.main([*tiny_run.arguments, *other, *options, "--jobs", "2"])
    assert "12 clips, of which the network was trained on 0" in capsys.readouterr().out
    table = pd.read_parquet(tiny_run.run_paths.submission_dir / "embeddings.parquet")
    assert list(table) == ["clip", "start_s", "end_s", "embedding"]
    assert table["embedding"].iloc[0].dtype == np.float16
    assert table["clip"].unique().tolist() == tiny_run.table["clip"].tolist()
    for index, (_, rows) in enumerate(table.groupby("clip", sort=False)):
        starts, expected = embed_naively(load_network(tiny_run, len(options) // 2), tiny_run.frames(index))
        np.testing.assert_allclose(stack(rows), expected, rtol=2e-3, atol=2e-5)
        assert expected.std() > 0.001
        np.testing.assert_allclose(rows["start_s"], np.array(starts) / FRAMES_PER_SECOND, atol=6e-4)
    assert table["end_s"].max() == 2.0


def test_clips_of_the_dataset_that_were_read_in_part_are_named(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_run.write_store(warning="it breaks off at 0.5 s")
    embed.main(tiny_run.arguments)
    warnings = pd.read_csv(tiny_run.run_paths.submission_dir / "embeddings_warnings.csv")
    assert warnings["clip"].tolist() == tiny_run.table["clip"].tolist()
    assert set(warnings["warning"]) == {"it breaks off at 0.5 s"}
    assert "12 recordings are to be checked (train0 " in capsys.readouterr().err


def test_the_commands_find_the_places_that_sound_like_a_clip(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = Path(tiny_run.table["path"].iloc[-1])
    windows = " ".join(WINDOW)
    printed = make(tmp_path, "embed similar", f"--name tiny {windows} --places 7", RUN="tiny", TO=path)
    folder = tiny_run.run_paths.submission_dir
    assert f"the 7 places most like {path}: {folder / 'similar.csv'}" in printed
    found = pd.read_csv(folder / "similar.csv")
    table = pd.read_parquet(folder / "embeddings.parquet")
    values = stack(table).astype(np.float64)
    query = values[table["clip"] == tiny_run.table["clip"].iloc[-1]].mean(0)
    expected = values @ query / np.linalg.norm(values, axis=1) / np.linalg.norm(query)
    assert list(found) == ["clip", "start_s", "end_s", "similarity"]
    np.testing.assert_allclose(found["similarity"], np.sort(expected)[::-1][:7], atol=2e-3)
    places = table.assign(similarity=expected).set_index(["clip", "start_s", "end_s"])["similarity"]
    at_place = [places[clip, start_s, end_s] for clip, start_s, end_s, _ in found.itertuples(index=False)]
    np.testing.assert_allclose(found["similarity"], at_place, atol=2e-3)


@pytest.mark.parametrize("n_places", [1, 10, 100])
def test_the_nearest_are_the_same_in_chunks_of_any_size(n_places: int) -> None:
    random = np.random.default_rng(0)
    values, query = random.standard_normal((50, 8)).astype(np.float32), random.standard_normal(8).astype(np.float32)
    values[7], values[20] = 0, values[3]
    places = pd.DataFrame({"clip": [f"{row}.wav" for row in range(50)], "start_s": 0.0, "end_s": 1.0})
    products = np.array([row @ query for row in values])
    with np.errstate(invalid="ignore"):
        cosine = np.nan_to_num(products / np.linalg.norm(values, axis=1) / np.linalg.norm(query))
    order = np.argsort(-cosine, kind="stable")[:n_places]
    for n_rows in (1, 7, 50):
        starts = range(0, 50, n_rows)
        chunks = [(places[row : row + n_rows], values[row : row + n_rows]) for row in starts]
        found = find_nearest(chunks, query, n_places)
        assert found["clip"].tolist() == [f"{row}.wav" for row in order]
        np.testing.assert_allclose(found["similarity"], cosine[order], atol=1e-6)


def test_recordings_of_no_dataset_are_embedded_and_bad_ones_named(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("predict.output.embeddings.CHUNK_ROWS", 3)
    folder = tmp_path / "field"
    folder.mkdir()
    for name, index in (("a.wav", 11), ("c.wav", 10)):
        (folder / name).write_bytes(Path(tiny_run.table["path"].iloc[index]).read_bytes())
    (folder / "b.wav").write_text("no sound")
    arguments = [*tiny_run.arguments, "--input", str(folder)]
    embed.main([*arguments, "--jobs", "2"])
    embed.main(tiny_run.arguments)
    ours, datasets = tiny_run.run_paths.input_dir(folder), tiny_run.run_paths.submission_dir
    table, of_dataset = (pd.read_parquet(each / "embeddings.parquet") for each in (ours, datasets))
    assert table["clip"].unique().tolist() == ["a.wav", "c.wav"]
    for clip, index in (("a.wav", 11), ("c.wav", 10)):
        expected = of_dataset[of_dataset["clip"] == tiny_run.table["clip"].iloc[index]]
        np.testing.assert_allclose(stack(table[table["clip"] == clip]), stack(expected), rtol=1e-2, atol=1e-3)
    assert [len(places) for places, _ in iter_embeddings(ours / "embeddings.parquet")] == [3] * (len(table) // 3) + (
        [len(table) % 3] if len(table) % 3 else []
    )
    assert pd.read_csv(ours / "embeddings_failed.csv")["clip"].tolist() == ["b.wav"]
    assert "1 recordings could not be read (b.wav: " in capsys.readouterr().err
    similar.main([*arguments, "--to", str(folder / "c.wav"), "--places", "1"])
    assert pd.read_csv(ours / "similar.csv")["clip"].tolist() == ["c.wav"]

    for path in (folder / "a.wav", folder / "c.wav"):
        path.write_text("no sound")
    with pytest.raises(UserError, match=r"none of the 3 recordings could be read \(a.wav: "):
        embed.main(arguments)
    pd.testing.assert_frame_equal(pd.read_parquet(ours / "embeddings.parquet"), table)


def test_what_cannot_be_compared_ends_in_one_line(tiny_run: TinyRun, tmp_path: Path) -> None:
    to = ["--to", tiny_run.table["path"].iloc[0]]
    with pytest.raises(UserError, match=r"TO=: name the recording"):
        similar.main(tiny_run.arguments)
    with pytest.raises(UserError, match=r"TO=none.wav: name the recording"):
        similar.main([*tiny_run.arguments, "--to", "none.wav"])
    with pytest.raises(UserError, match=r"embeddings.parquet is not there: run make embed first"):
        similar.main([*tiny_run.arguments, *to])
    with pytest.raises(UserError, match=r"--fold 7: the run has networks of folds 0, 1"):
        embed.main([*tiny_run.arguments, "--fold", "7"])
    embed.main(tiny_run.arguments)
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    with pytest.raises(UserError, match=r"TO=.*text.wav cannot be read: "):
        similar.main([*tiny_run.arguments, "--to", str(text)])
    tiny_run.write_store(louder_db=[3.0])
    similar.main([*tiny_run.arguments, *to])
    tiny_run.write_store(start_s=0.05)
    with pytest.raises(UserError, match=r"is of other frames than .*clips.csv: run make embed again"):
        similar.main([*tiny_run.arguments, *to])
    tiny_run.write_network(fold=1, seed=1)
    with pytest.raises(UserError, match=r"was made by other networks than the run has now: run make embed again"):
        similar.main([*tiny_run.arguments, *to])


def test_embeddings_of_other_recordings_or_damaged_ones_are_refused(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, folder in enumerate((tmp_path / "one" / "field", tmp_path / "two" / "field")):
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", np.random.default_rng(number).uniform(-0.1, 0.1, 8_000), 8_000)
    embed.main([*tiny_run.arguments, "--input", str(tmp_path / "one" / "field")])
    arguments = [*tiny_run.arguments, "--input", str(folder), "--to", str(folder / "a.wav")]
    with pytest.raises(UserError, match=r"is of .*one/field: run make embed again"):
        similar.main(arguments)
    path = tiny_run.run_paths.input_dir(folder) / "embeddings.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"is no table of embeddings .*: run make embed again"):
        similar.main(arguments)
    assert "replaced" not in capsys.readouterr().err
    embed.main([*tiny_run.arguments, "--input", str(folder.parents[1] / "one" / "field")])
    assert "replaced" not in capsys.readouterr().err, "a damaged one"
    embed.main([*tiny_run.arguments, "--input", str(folder)])
    assert f"{path} is of {tmp_path}/one/field, and is replaced" in capsys.readouterr().err
