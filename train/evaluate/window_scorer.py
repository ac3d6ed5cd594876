"""The scores of a clip's windows: the one way to them, for validation, prediction and the server."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.device import autocast_context
from recipe import Prediction
from train.evaluate.blend import blend
from train.evaluate.chunks import WindowChunk, WindowPlan
from train.evaluate.forward import forward_windows, supports_dense
from train.evaluate.tta import View, make_views
from train.evaluate.windows import window_and_hop_frames
from train.networks.factory import AudioNetwork

MIN_BATCH_WINDOWS = 64
"""Windows of several clips share a pass of a network until there are so many."""


@dataclass(frozen=True)
class WindowScores:
    """Windows of one clip."""

    start_frames: np.ndarray
    """[n_windows] int64"""
    scores: np.ndarray
    """Probabilities float32 [n_windows, n_labels], blended over the networks; those of softmax add up to 1."""


@dataclass(frozen=True)
class WindowScorer:
    """Networks in eval mode whose scores of each window are blended."""

    networks: Sequence[AudioNetwork]
    prediction: Prediction
    frames_per_second: float
    precision: str = "float32"
    """As in training."""

    def iter_chunks(self, blocks: Iterable[Tensor]) -> Iterator[WindowChunk]:
        """The windows of one clip, some at a time, as its frames arrive in blocks [n, n_bins] of any size."""
        window, hop = window_and_hop_frames(self.prediction, self.frames_per_second)
        alignment = math.lcm(*(network.time_stride for network in self.networks))
        margin = max(abs(view.shift) for view in self._views())
        margin += window if self.prediction.mode == "dense" else 0
        return WindowPlan(window, hop, margin, alignment).iter_chunks(blocks)

    def score_chunks(self, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        """The scores of chunks of any clips."""
        views = self._views()
        with autocast_context(chunks[0].frames.device, self.precision):
            scores = [self._score_view(network, chunks, view) for network in self.networks for view in views]
        by_network = torch.stack(scores).unflatten(0, (len(self.networks), len(views))).mean(1)
        blended = blend(by_network, self.prediction.blend)
        if self.prediction.blend == "geometric" and self.networks[0].activation == "softmax":
            blended /= blended.sum(-1, keepdim=True)
        parts = blended.cpu().split([len(chunk.starts) for chunk in chunks])
        return [WindowScores(chunk.starts, part.numpy()) for chunk, part in zip(chunks, parts, strict=True)]

    def score_clips(self, clips: Iterable[Iterable[Tensor]]) -> Iterator[WindowScores]:
        """Yield the scores of each clip, in order, from its blocks of frames; windows of short clips share batches."""
        batch: list[WindowChunk] = []
        n_chunks: deque[int] = deque()
        scored: deque[WindowScores] = deque()
        for blocks in clips:
            n_chunks.append(0)
            for chunk in self.iter_chunks(blocks):
                batch.append(chunk)
                n_chunks[-1] += 1
                if sum(len(each.starts) for each in batch) >= MIN_BATCH_WINDOWS:
                    scored.extend(self.score_chunks(batch))
                    batch = []
            while n_chunks and n_chunks[0] <= len(scored):
                yield join_windows([scored.popleft() for _ in range(n_chunks.popleft())])
        scored.extend(self.score_chunks(batch) if batch else [])
        for n in n_chunks:
            yield join_windows([scored.popleft() for _ in range(n)])

    def _views(self) -> list[View]:
        return make_views(self.prediction, self.frames_per_second)

    def _score_view(self, network: AudioNetwork, chunks: Sequence[WindowChunk], view: View) -> Tensor:
        """One network's probabilities [n_windows, n_labels] of one view of all windows."""
        window, _ = window_and_hop_frames(self.prediction, self.frames_per_second)
        clips = [
            (
                view.apply_gain(chunk.frames, network.kind),
                view.shift_starts(chunk.starts - chunk.first, window, len(chunk.frames)),
            )
            for chunk in chunks
        ]
        dense = self.prediction.mode == "dense" and supports_dense(network)
        return forward_windows(network, clips, window, dense=dense)


def join_windows(parts: Sequence[WindowScores]) -> WindowScores:
    """Consecutive windows of one clip as one."""
    return WindowScores(
        np.concatenate([part.start_frames for part in parts]), np.concatenate([part.scores for part in parts])
    )
