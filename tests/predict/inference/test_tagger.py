"""The tagger: windows against a naive loop, times of the original recording, and runs it refuses."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import UserError
from predict.inference.run_loader import load_run
from predict.inference.tagger import Tagger
from recipe import Prediction, Training
from tests.predict.conftest import FRAMES_PER_SECOND, LABELS, TinyRun, predict_frames

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
WINDOW, HOP = 40, 20


def naive_windows(frames: torch.Tensor) -> list[tuple[int, torch.Tensor]]:
    """(first frame, window) pairs cut one by one; a short clip goes round from its beginning."""
    if len(frames) <= WINDOW:
        return [(0, frames[[index % len(frames) for index in range(WINDOW)]])]
    starts = list(range(0, len(frames) - WINDOW + 1, HOP))
    if starts[-1] + WINDOW < len(frames):
        starts.append(len(frames) - WINDOW)
    return [(start, frames[start : start + WINDOW]) for start in starts]


@pytest.mark.parametrize("n_frames", [1, 39, 40, 41, 60, 61, 200])
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_scores_equal_a_loop_over_windows_and_folds(
    tiny_run: TinyRun, n_frames: int, pooling: Literal["mean", "max"]
) -> None:
    run = load_run(tiny_run.run_paths.run_dir, replace(PREDICTION, pooling=pooling))
    tagger = run.tagger()
    frames = torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(n_frames)) * 20 - 40
    windows = naive_windows(frames)
    with torch.inference_mode():
        networks = tagger.scorer.networks
        alone = [[network(window[None])[0].sigmoid().numpy() for _, window in windows] for network in networks]
    expected = np.mean(alone, axis=0)
    clip_prediction = predict_frames(tagger, frames)
    np.testing.assert_allclose(clip_prediction.windows, expected, atol=1e-5)
    pooled = expected.mean(axis=0) if pooling == "mean" else expected.max(axis=0)
    np.testing.assert_allclose(clip_prediction.scores, pooled, atol=1e-5)
    np.testing.assert_allclose(clip_prediction.start_s, [start / FRAMES_PER_SECOND for start, _ in windows])


def get_tagger(tiny_run: TinyRun, prediction: Prediction = PREDICTION) -> Tagger:
    """All networks of the run."""
    return load_run(tiny_run.run_paths.run_dir, prediction).tagger()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_single_labels_blended_geometrically_add_up_to_1(tiny_run: TinyRun, temperature: float) -> None:
    for fold in (0, 1):
        tiny_run.write_network(fold, training=Training(loss="cross_entropy"))
    tagger = replace(get_tagger(tiny_run, replace(PREDICTION, blend="geometric")), temperature=temperature)
    clip_prediction = predict_frames(tagger, tiny_run.frames(0))
    np.testing.assert_allclose(clip_prediction.windows.sum(axis=1), 1, atol=1e-6)


def test_scores_of_windows_are_calibrated_and_pooled(tiny_run: TinyRun) -> None:
    tagger, frames = get_tagger(tiny_run), tiny_run.frames(11)
    plain, softened = predict_frames(tagger, frames), predict_frames(replace(tagger, temperature=2.0), frames)
    logits = torch.from_numpy(plain.windows).logit() / 2
    np.testing.assert_allclose(softened.windows, logits.sigmoid().numpy(), atol=1e-6)
    np.testing.assert_allclose(softened.scores, softened.windows.mean(axis=0), atol=1e-6)


def test_times_are_of_the_original_recording(tiny_run: TinyRun) -> None:
    clip_prediction = predict_frames(get_tagger(tiny_run), torch.zeros(60, 24), start_s=2.0, duration_s=2.7)
    np.testing.assert_allclose(clip_prediction.start_s, [2.0, 2.25])
    np.testing.assert_allclose(clip_prediction.end_s, [2.5, 2.7])


def test_silence_put_before_a_recording_has_no_time(tiny_run: TinyRun) -> None:
    clip_prediction = predict_frames(get_tagger(tiny_run), torch.zeros(60, 24), start_s=-0.3, duration_s=0.4)
    np.testing.assert_allclose(clip_prediction.start_s, [0, 0])
    np.testing.assert_allclose(clip_prediction.end_s, [0.2, 0.4])


def test_a_short_clip_s_window_ends_with_the_recording(tiny_run: TinyRun) -> None:
    clip_prediction = predict_frames(get_tagger(tiny_run), torch.zeros(9, 24), duration_s=0.1)
    np.testing.assert_allclose(clip_prediction.end_s, [0.1])


def test_a_fold_is_scored_by_the_networks_that_never_saw_it(tiny_run: TinyRun) -> None:
    tiny_run.write_network(fold=1, seed=1)
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    frames = torch.randn(40, 24, generator=torch.Generator().manual_seed(0)) * 20 - 40
    assert [len(run.tagger(fold).scorer.networks) for fold in (0, 1, None)] == [1, 2, 3]
    by_fold = [predict_frames(run.tagger(fold), frames).scores for fold in (0, 1)]
    np.testing.assert_allclose(
        predict_frames(run.tagger(), frames).scores, (by_fold[0] + 2 * by_fold[1]) / 3, atol=1e-6
    )
    assert not np.allclose(by_fold[0], by_fold[1])


def test_a_run_without_networks_says_what_to_run(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="make train"):
        load_run(tiny_run.run_paths.run_dir.parent / "other", PREDICTION)


def test_networks_of_other_labels_are_not_blended(tiny_run: TinyRun) -> None:
    tiny_run.write_network(fold=1, labels=LABELS[::-1])
    with pytest.raises(UserError, match=r"fold1.*other labels"):
        load_run(tiny_run.run_paths.run_dir, PREDICTION)


def test_a_damaged_checkpoint_is_named(tiny_run: TinyRun) -> None:
    path = tiny_run.run_paths.run_dir / "fold1" / "best.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"fold1.best\.pt"):
        load_run(tiny_run.run_paths.run_dir, PREDICTION)
