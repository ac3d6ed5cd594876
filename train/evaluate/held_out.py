"""What held-out clips are scored by: each clip as a whole, or where labels are known in time each of its windows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.csv_tables import write_table
from recipe import Recipe
from train.data.training_set import TrainingSet
from train.evaluate.window_scorer import WindowScores, score_clips, score_windows
from train.evaluate.windows import describe_scores, window_and_hop_frames, window_starts
from train.networks.factory import AudioNetwork


def list_window_starts(training_set: TrainingSet, rows: Sequence[int], recipe: Recipe) -> list[np.ndarray]:
    """First frames int64 [n_windows] of the windows of each row."""
    bank = training_set.frame_bank
    window, hop = window_and_hop_frames(recipe.prediction, bank.frames_per_second)
    lengths = bank.lengths[bank.first_variant[torch.as_tensor(rows)]].tolist()
    return [window_starts(length, window, hop) for length in lengths]


def count_scored(training_set: TrainingSet, rows: Sequence[int], recipe: Recipe) -> list[int]:
    """How many scores of each label a row has: one, or one a window."""
    if not training_set.events:
        return [1] * len(rows)
    return [len(starts) for starts in list_window_starts(training_set, rows, recipe)]


def scored_truth(training_set: TrainingSet, rows: Sequence[int], recipe: Recipe) -> Tensor:
    """Multi-hot truth float32 [n_scored, n_labels] of some rows: of the clips, or of the events in their windows."""
    if not training_set.events:
        return training_set.targets[rows]
    bank, starts = training_set.frame_bank, list_window_starts(training_set, rows, recipe)
    window, _ = window_and_hop_frames(recipe.prediction, bank.frames_per_second)
    row_of = np.repeat(np.asarray(rows), [len(each) for each in starts])
    lengths = bank.lengths[bank.first_variant[torch.from_numpy(row_of)]].numpy()
    return training_set.events.label_spans(row_of, np.concatenate(starts), window, lengths)


def score_rows(
    networks: Sequence[AudioNetwork], training_set: TrainingSet, rows: Sequence[int], recipe: Recipe
) -> list[Tensor]:
    """Probabilities float32 [n_scored, n_labels] of each row, by networks in eval mode."""
    if not training_set.events:
        return list(score_clips(networks, training_set.frame_bank, rows, recipe)[:, None])
    windows = score_windows(networks, training_set.frame_bank, rows, recipe)
    return [torch.from_numpy(each.scores) for each in windows]


def describe_metrics(training_set: TrainingSet, recipe: Recipe) -> str:
    """What is scored, in words."""
    prediction = recipe.prediction
    if not training_set.events:
        return f"a clip's score is {describe_scores(prediction)}"
    overlap = f"{recipe.training.min_overlap_s:g} s of an event, or all of a shorter one"
    return (
        f"scored are windows of {prediction.window_seconds:g} s, one each {prediction.hop_seconds:g} s; one has the "
        f"labels of which it holds {overlap}"
    )


def scores_of(
    training_set: TrainingSet, recipe: Recipe, scores: Tensor, windows: Mapping[int, WindowScores], rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Truth and scores [n, n_labels] of some rows: of the clips, or with labels in time of their windows."""
    if not training_set.events:
        return training_set.targets[rows], scores[rows]
    window_scores = torch.cat([torch.from_numpy(windows[row].scores) for row in rows.tolist()])
    return scored_truth(training_set, rows.tolist(), recipe), window_scores


def write_oof_windows(
    path: Path, training_set: TrainingSet, recipe: Recipe, windows: Mapping[int, WindowScores]
) -> str:
    """Write the scores of all windows, in seconds of the recordings, a column a label; its line."""
    bank = training_set.frame_bank
    window, _ = window_and_hop_frames(recipe.prediction, bank.frames_per_second)

    def place(row: int, start: int) -> tuple[str, str, str]:
        first_s, duration_s = float(bank.start_s[row]), float(bank.duration_s[row])
        ends = (first_s + frame / bank.frames_per_second for frame in (start, start + window))
        start_s, end_s = (min(max(each, 0.0), duration_s) for each in ends)
        return bank.clips[row], f"{start_s:.3f}", f"{end_s:.3f}"

    table = (
        [*place(row, start), *(f"{score:.6g}" for score in scores)]
        for row, clip_windows in sorted(windows.items())
        for start, scores in zip(clip_windows.start_frames.tolist(), clip_windows.scores.tolist(), strict=True)
    )
    write_table(path, ["clip", "start_s", "end_s", *training_set.labels], table)
    return f"{path}: their windows, a row each"
