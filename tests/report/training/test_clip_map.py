"""The map of clips: places, groups and neighbours, against plain computations; and whose clips it shows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from predict.inference.run_loader import load_run
from predict.output.embeddings import find_nearest
from preprocess.store.reader import open_store
from recipe import Prediction
from recipe.cli import parse_command
from report.training import clip_map
from report.training.clip_map import count_alike, group_points, make_clip_map, name_groups, project
from report.training.out_of_fold import summarise_out_of_fold
from tests.predict.conftest import TinyRun, make_tiny_run
from train.data.corrected_clips import read_corrected_clips

CPU = torch.device("cpu")


def test_places_are_the_principal_components_at_one_scale() -> None:
    random = np.random.default_rng(0)
    embeddings = (random.standard_normal((40, 6)) * [1, 9, 2, 3, 1, 1] + 5).astype(np.float32)
    places, (first, second) = project(embeddings)
    centered = embeddings.astype(np.float64) - embeddings.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centered.T @ centered)
    assert (first, second) == pytest.approx((values[-1] / values.sum(), values[-2] / values.sum()))
    xs, ys = np.array(places).T
    for place, vector in ((xs, vectors[:, -1]), (ys, vectors[:, -2])):
        assert abs(np.corrcoef(place, centered @ vector)[0, 1]) > 0.9999
    scale = np.ptp(xs) / np.ptp(centered @ vectors[:, -1])
    assert np.ptp(ys) / np.ptp(centered @ vectors[:, -2]) == pytest.approx(scale, rel=1e-2)
    assert xs.min() == pytest.approx(clip_map.MARGIN)
    assert xs.max() == pytest.approx(clip_map.SIZE - clip_map.MARGIN)
    assert (ys.min() + ys.max()) / 2 == pytest.approx(clip_map.SIZE / 2, abs=0.1)


def test_clips_that_are_all_the_same_lie_in_the_middle() -> None:
    assert project(np.ones((4, 3), np.float32)) == ([(300.0, 300.0)] * 4, (0.0, 0.0))


def test_neighbours_are_counted_as_find_nearest_finds_them() -> None:
    random = np.random.default_rng(1)
    embeddings = random.standard_normal((20, 5)).astype(np.float32)
    names = np.array(random.choice(["a", "b"], 20), dtype=object)
    for row, share in enumerate(count_alike(embeddings, names)):
        others = np.delete(np.arange(20), row)
        places = pd.DataFrame({"clip": [str(other) for other in others], "start_s": 0.0, "end_s": 1.0})
        nearest = find_nearest([(places, embeddings[others])], embeddings[row], 5)["clip"].astype(int)
        assert share == pytest.approx(np.mean(names[nearest] == names[row]))
    assert count_alike(embeddings[:3], names[:3]).shape == (3,)


def test_clips_of_one_frequent_label_have_a_colour_and_all_others_are_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_map, "MAX_LABELS", 2)
    names = name_groups([["b"], ["a"], ["b"], ["rare"], ["a"], ["a", "b"], []])
    assert names == ["b", "a", "b", "other labels", "a", "several labels", "no label"]
    points = pd.DataFrame({"clip": list("6543210"), "group": names[::-1], "alike": [1, 1, 0.25, 1, 1, 0.75, 1]})
    groups = group_points(points)
    assert [group["name"] for group in groups] == ["a", "b", "no label", "other labels", "several labels"]
    assert groups[0]["points"]["clip"].tolist() == ["1", "4"]
    assert len({(group["colour"], group["shape"]) for group in groups}) == 5
    assert [group["colour"] == "var(--faint)" for group in groups] == [False, False, True, True, True]
    assert [group["alike"] for group in groups] == pytest.approx([0.5, 1, *[np.nan] * 3], nan_ok=True)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return make_tiny_run(tmp_path_factory.mktemp("mapped"))


@pytest.mark.parametrize("most", [2_000, 2])
def test_the_map_has_the_clips_of_one_fold_by_its_network(
    tiny_run: TinyRun, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_map, "MAX_CLIPS", most)
    command = parse_command(tiny_run.arguments, "test")
    prediction = Prediction(window_seconds=0.5, hop_seconds=0.25)
    run = load_run(tiny_run.run_paths.run_dir, prediction)
    projected: list[np.ndarray] = []

    def note_and_project(embeddings: np.ndarray) -> Any:
        projected.append(embeddings)
        return project(embeddings)

    monkeypatch.setattr(clip_map, "project", note_and_project)
    with open_store(tiny_run.run_paths.store) as store:
        table = read_corrected_clips(tiny_run.run_paths, None, store).table
        oof = summarise_out_of_fold(command, run, store, table, CPU, 1)
        mapped = make_clip_map(run, store, oof, CPU, 1)
        assert mapped
        only = [clip for group in mapped.groups for clip in group["points"]["clip"]]
        folds = oof.folds.copy()
        oof.folds[:] = [0, 0, 1, 1, -1, -1]
        assert make_clip_map(run, store, oof, CPU, 1) is None
    expected = [clip for clip, fold in zip(oof.clips.clips, folds, strict=True) if fold == 0]
    assert sorted(only) == sorted(expected if most > 3 else [expected[0], expected[2]])
    assert (mapped.fold, mapped.n_clips, mapped.n_points) == (0, 3, min(most, 3))
    tagger = run.embedder(0)
    (first,) = tagger.scorer.score_clips([[tiny_run.frames(table["clip"].tolist().index(expected[0]))]])
    np.testing.assert_allclose(projected[0][0], first.scores.mean(0), rtol=1e-4)
