"""Scores, or embeddings, of the windows of clips: the one scorer of validation, prediction and the server."""

import copy
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.device import autocast_context
from core.errors import UserError
from recipe import Prediction, Recipe
from train.data.frame_bank import FrameBank
from train.evaluate.forward import forward_windows, supports_dense
from train.evaluate.windows import WindowChunk, blend, iter_chunks, pool_windows, window_and_hop_frames
from train.networks.factory import AudioNetwork

MIN_BATCH_WINDOWS = 64
"""Short clips are scored together until a batch has so many windows."""


class NonFiniteScores(UserError):
    """Scores that are no finite numbers, of damaged weights or of training that diverged."""


@dataclass(frozen=True)
class View:
    """Test-time augmentation: a window moved later by `shift` frames, or made louder."""

    shift: int = 0
    gain_db: float = 0.0

    def apply_gain(self, frames: Tensor, kind: str) -> Tensor:
        """The frames at this view's gain; chroma does not depend on it."""
        if kind == "cqt_chroma":
            return frames
        return frames * 10 ** (self.gain_db / 20) if kind == "waveform" else frames + self.gain_db


@dataclass(frozen=True)
class WindowScores:
    """Windows of one clip."""

    start_frames: np.ndarray
    """[n_windows] int64"""
    scores: np.ndarray
    """Probabilities float32 [n_windows, n_labels], blended over the networks; those of softmax add up to 1.

    Of an embedder, embeddings [n_windows, n_values].
    """


@dataclass(frozen=True)
class WindowScorer:
    """Networks in eval mode whose scores of each window are blended."""

    networks: Sequence[AudioNetwork]
    prediction: Prediction
    frames_per_second: float
    precision: str = "float32"
    """As in training."""

    def copy_to(self, device: torch.device | str) -> "WindowScorer":
        """The same, with networks on another device."""
        return replace(self, networks=[copy.deepcopy(network).to(device) for network in self.networks])

    @cached_property
    def views(self) -> list[View]:
        """The window as it is, and the recipe's views, each with one change."""
        shifts = [round(shift_s * self.frames_per_second) for shift_s in self.prediction.view_shifts_s]
        gains_db = self.prediction.view_gains_db
        return [View(), *(View(shift=shift) for shift in shifts), *(View(gain_db=gain_db) for gain_db in gains_db)]

    def iter_chunks(self, blocks: Iterable[Tensor]) -> Iterator[WindowChunk]:
        """The windows of one clip in chunks, as its frames arrive in blocks [n, n_bins] of any size."""
        window, hop = window_and_hop_frames(self.prediction, self.frames_per_second)
        alignment = math.lcm(*(network.time_stride for network in self.networks))
        margin = max(abs(view.shift) for view in self.views) + (window if self.prediction.mode == "dense" else 0)
        return iter_chunks(blocks, window, hop, margin, alignment)

    def score_chunks(self, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        """The scores of chunks of any clips. Raises NonFiniteScores."""
        return split_scores([chunk.starts for chunk in chunks], self.blend_chunks(chunks))

    def blend_chunks(self, chunks: Sequence[WindowChunk]) -> Tensor:
        """Scores [n_windows, n_labels] of the windows of all chunks, on the device; a GPU may not have ended yet."""
        with autocast_context(chunks[0].frames.device, self.precision):
            scores = [self._score_view(network, chunks, view) for network in self.networks for view in self.views]
        by_network = torch.stack(scores).unflatten(0, (len(self.networks), len(self.views))).mean(1)
        return blend(by_network, self.prediction.blend, self.networks[0].activation)

    def score_clips(self, clips: Iterable[Iterable[Tensor]]) -> Iterator[WindowScores]:
        """Yield the scores of each clip, in order, from its blocks of frames.

        Those of a batch are waited for when the next one is under way, so that a GPU computes while clips are read.
        """
        batch: list[WindowChunk] = []
        n_chunks: deque[int] = deque()
        scored: deque[WindowScores] = deque()
        running: deque[tuple[list[np.ndarray], Tensor]] = deque()
        for blocks in clips:
            n_chunks.append(0)
            for chunk in self.iter_chunks(blocks):
                batch.append(chunk)
                n_chunks[-1] += 1
                if sum(len(each.starts) for each in batch) >= MIN_BATCH_WINDOWS:
                    running.append(([each.starts for each in batch], self.blend_chunks(batch)))
                    batch = []
                    if len(running) > 1:
                        scored.extend(split_scores(*running.popleft()))
            while n_chunks and n_chunks[0] <= len(scored):
                yield join_windows([scored.popleft() for _ in range(n_chunks.popleft())])
        if batch:
            running.append(([each.starts for each in batch], self.blend_chunks(batch)))
        scored.extend(one for batch_scores in running for one in split_scores(*batch_scores))
        for n in n_chunks:
            yield join_windows([scored.popleft() for _ in range(n)])

    def _score_view(self, network: AudioNetwork, chunks: Sequence[WindowChunk], view: View) -> Tensor:
        """One network's probabilities [n_windows, n_labels] of one view of all windows."""
        window, _ = window_and_hop_frames(self.prediction, self.frames_per_second)
        clips = []
        for chunk in chunks:
            starts = np.clip(chunk.starts - chunk.first + view.shift, 0, max(len(chunk.frames) - window, 0))
            clips.append((view.apply_gain(chunk.frames, network.kind) if view.gain_db else chunk.frames, starts))
        dense = self.prediction.mode == "dense" and supports_dense(network)
        return forward_windows(network, clips, window, dense=dense)


def split_scores(starts: Sequence[np.ndarray], scores: Tensor) -> list[WindowScores]:
    """The scores of each chunk, by the first frames of its windows, from those of all. Raises NonFiniteScores."""
    on_host = scores.cpu()
    if not on_host.isfinite().all():
        raise NonFiniteScores(
            "a score of the networks is no finite number, and none is used: their weights are damaged, run make "
            "train again"
        )
    parts = on_host.split([len(some) for some in starts])
    return [WindowScores(some, part.numpy()) for some, part in zip(starts, parts, strict=True)]


def join_windows(parts: Sequence[WindowScores]) -> WindowScores:
    """Consecutive windows of one clip as one."""
    starts = np.concatenate([part.start_frames for part in parts])
    return WindowScores(starts, np.concatenate([part.scores for part in parts]))


def score_clips(networks: Sequence[AudioNetwork], frame_bank: FrameBank, rows: Sequence[int], recipe: Recipe) -> Tensor:
    """Probabilities of whole clips, rows of the frame bank, by networks in eval mode: float32 [n_rows, n_labels]."""
    windows = score_windows(networks, frame_bank, rows, recipe)
    return torch.stack([pool_windows(torch.from_numpy(each.scores), recipe.prediction) for each in windows])


def score_windows(
    networks: Sequence[AudioNetwork], frame_bank: FrameBank, rows: Sequence[int], recipe: Recipe
) -> Iterator[WindowScores]:
    """Yield the windows of each of some rows of the frame bank, scored by networks in eval mode."""
    scorer = WindowScorer(networks, recipe.prediction, frame_bank.frames_per_second, recipe.training.precision)
    return scorer.score_clips([frame_bank.clip_frames(row)] for row in rows)
