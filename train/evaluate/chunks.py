"""Chunks of neighbouring windows of a clip, cut as its frames arrive: the memory does not grow with its length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train.evaluate.windows import window_starts

CHUNK_WINDOWS = 64
"""Windows of a chunk: of 3 s windows every second, about a minute."""


@dataclass(frozen=True)
class WindowChunk:
    """Neighbouring windows of one clip, and the frames they lie in."""

    starts: np.ndarray
    """First frame of each window in the clip [n_windows] int64."""
    first: int
    """Where in the clip `frames` begins."""
    frames: Tensor
    """[n_frames, n_bins], with up to `margin` frames more than the windows on either side."""


@dataclass(frozen=True)
class WindowPlan:
    """How a clip is cut: frames of a window, of a hop and around a chunk, and what divides a chunk's start."""

    window: int
    hop: int
    margin: int = 0
    alignment: int = 1

    def iter_chunks(self, blocks: Iterable[Tensor]) -> Iterator[WindowChunk]:
        """The chunks of a clip whose frames come in blocks [n, n_bins] of any size, which changes nothing."""
        frame_buffer = _FrameBuffer()
        done = 0
        for block in blocks:
            frame_buffer.add(block)
            while frame_buffer.stop >= self._frames_needed(done + CHUNK_WINDOWS - 1):
                yield self._make_chunk(frame_buffer, np.arange(done, done + CHUNK_WINDOWS, dtype=np.int64) * self.hop)
                done += CHUNK_WINDOWS
        starts = window_starts(frame_buffer.stop, self.window, self.hop)
        for index in range(done, len(starts), CHUNK_WINDOWS):
            yield self._make_chunk(frame_buffer, starts[index : index + CHUNK_WINDOWS])

    def _frames_needed(self, index: int) -> int:
        """How many frames there must be before window `index` can be cut with its margin."""
        return index * self.hop + self.window + self.margin

    def _make_chunk(self, frame_buffer: "_FrameBuffer", starts: np.ndarray) -> WindowChunk:
        """The chunk of some windows; frames before it are dropped."""
        first = max(int(starts[0]) - self.margin, 0) // self.alignment * self.alignment
        frames = frame_buffer.take(first, int(starts[-1]) + self.window + self.margin)
        return WindowChunk(starts, first, frames)


class _FrameBuffer:
    """The frames of a clip that are still wanted: from `start` to `stop`."""

    def __init__(self) -> None:
        self.start = self.stop = 0
        self._blocks: list[Tensor] = []

    def add(self, block: Tensor) -> None:
        self._blocks.append(block)
        self.stop += len(block)

    def take(self, first: int, last: int) -> Tensor:
        """Frames `first` to `last`, or the clip's end; those before `first` will not be asked for again."""
        frames = torch.cat(self._blocks)[first - self.start :]
        self._blocks, self.start = [frames], first
        return frames[: last - first]
