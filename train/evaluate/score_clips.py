"""Scores of whole clips of the training set, by the windows that prediction uses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recipe import Prediction
from train.data.frame_bank import FrameBank
from train.evaluate.window_scorer import WindowScorer
from train.evaluate.windows import pool_windows
from train.networks.factory import AudioNetwork


def score_clips(
    networks: Sequence[AudioNetwork],
    frame_bank: FrameBank,
    rows: Sequence[int],
    prediction: Prediction,
    precision: str = "float32",
) -> Tensor:
    """Probabilities of whole clips, rows of the frame bank as recorded: float32 [n_rows, n_labels] on the CPU.

    Leaves the networks in the modes they were in.
    """
    scorer = WindowScorer(networks, prediction, frame_bank.frames_per_second, precision)
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    windows = scorer.score_clips([frame_bank.clip_frames(row)] for row in rows)
    scores = torch.stack([pool_windows(torch.from_numpy(each.scores), prediction) for each in windows])
    for network, training in zip(networks, modes, strict=True):
        network.train(training)
    return scores
