"""The channels of a recording → one, by features.channel."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from preprocess.audio.blocks import InvalidAudio
from preprocess.frames.framing import Samples

CHANNELS = {"left": 0, "right": 1}
CANCELLED_SHARE = 0.02
"""Channels cancel each other out where their mean has less than this share of the power it would have if they were
independent."""
CANCELLED_WARNING = "its channels cancel each other out (opposite phase)"


@dataclass(eq=False)
class Downmix:
    """Averages the channels of blocks, or picks one; notices channels that cancel each other out."""

    channel: str | int = "mean"
    _channel_energy: float = field(default=0.0, init=False)
    _mixed_energy: float = field(default=0.0, init=False)

    def __call__(self, block: npt.NDArray[Any], full_scale: float = 1.0) -> Samples:
        """Samples [n_samples] at full scale 1 of a block [n_channels, n_samples]. Raises InvalidAudio."""
        n_channels = len(block)
        if n_channels == 1 or self.channel != "mean":
            index = CHANNELS.get(self.channel, 0) if isinstance(self.channel, str) else self.channel
            if n_channels == 1 and isinstance(self.channel, str):
                index = 0
            if index >= n_channels:
                raise InvalidAudio(f"it has no channel {self.channel} (features.channel), but {n_channels} from 0 on")
            return np.multiply(block[index], np.float32(1 / full_scale), dtype=np.float32)
        values = block.astype(np.float32, copy=False)
        mixed = np.full(n_channels, 1 / (full_scale * n_channels), np.float32) @ values  # faster than a mean
        flat = values.ravel(order="K")
        self._channel_energy += float(np.dot(flat, flat)) / (full_scale * n_channels) ** 2
        self._mixed_energy += float(np.dot(mixed, mixed))
        return mixed

    def warnings(self) -> list[str]:
        """What is to be said of the channels of all blocks."""
        if not self._mixed_energy < CANCELLED_SHARE * self._channel_energy:
            return []
        ratio_db = 10 * math.log10(self._channel_energy / max(self._mixed_energy, 1e-12 * self._channel_energy))
        return [
            f"{CANCELLED_WARNING}: their mean is {ratio_db:.0f} dB below them; take one of them with features.channel"
        ]
