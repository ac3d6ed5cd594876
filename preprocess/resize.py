"""Resizing as images are resized: linear interpolation that averages where it shrinks.

The weights are those of `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from preprocess.coding import Frames


def resize_weights(n_in: int, n_out: int, ratio: float | None = None, first_out: int = 0, first_in: int = 0) -> Frames:
    """Weights [n_out, n_in] of inputs `first_in`.. in outputs `first_out`..; every output's weights add up to 1.

    An output covers `ratio` inputs, n_in / n_out by default.
    """
    ratio = ratio or n_in / n_out
    centres = (np.arange(first_out, first_out + n_out) + 0.5) * ratio
    distances = np.abs(np.arange(first_in, first_in + n_in) + 0.5 - centres[:, None])
    weights: npt.NDArray[np.float64] = np.maximum(0.0, 1.0 - distances / max(1.0, ratio))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_in_time(blocks: Iterable[Frames], ratio: float) -> Iterator[Frames]:
    """Frames in blocks → frames in blocks, one for `ratio` of them; joined, they do not depend on the blocks."""
    reach = max(1.0, ratio)
    waiting: Frames | None = None
    first_in = n_out = 0
    for block in blocks:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        n_known = int((first_in + len(waiting) - reach) / ratio - 0.5)  # outputs whose inputs are all here
        if n_known > n_out:
            yield resize_weights(len(waiting), n_known - n_out, ratio, n_out, first_in) @ waiting
            n_out = n_known
            gone = max(0, int((n_out + 0.5) * ratio - reach) - first_in)
            waiting, first_in = waiting[gone:], first_in + gone
    if waiting is not None:
        n_left = max(1, round((first_in + len(waiting)) / ratio)) - n_out
        if n_left > 0:
            yield resize_weights(len(waiting), n_left, ratio, n_out, first_in) @ waiting
