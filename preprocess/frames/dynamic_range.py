"""`features.top_db`: a floor below the loudest moment around each frame, as `librosa.power_to_db` has it for a clip."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from preprocess.frames.framing import Frames
from recipe import Features

TOP_DB_REACH_S = 30.0
"""Sound before and after a frame whose highest value sets its floor; a clip that is no longer has one floor."""


def count_reach_frames(features: Features) -> int:
    """Frames in TOP_DB_REACH_S."""
    frames_per_second = features.frames_per_second or features.sample_rate_hz / features.hop_length
    return round(TOP_DB_REACH_S * frames_per_second)


def limit_range(blocks: Iterable[Frames], top_db: float, reach: int) -> Iterator[Frames]:
    """Raise values of frames in dB, in blocks, to `top_db` below the highest of up to `reach` frames on either side."""
    pending, n_pending = list[Frames](), 0
    peaks = np.empty(0, np.float32)  # of the last `reach` frames that were yielded, and of the pending ones
    for block in chain[Frames | None](blocks, [None]):
        if block is not None:
            pending, n_pending = [*pending, block], n_pending + len(block)
            peaks = np.concatenate([peaks, block.max(axis=1)])
        n_known = n_pending if block is None else n_pending - reach
        if n_known > 0 and (n_known >= reach or block is None):
            frames, first = np.concatenate(pending), len(peaks) - n_pending
            floors = sliding_max(peaks, reach)[first : first + n_known] - np.float32(top_db)
            yield np.maximum(frames[:n_known], floors[:, None], out=frames[:n_known])
            pending, n_pending = [frames[n_known:]], n_pending - n_known
            peaks = peaks[max(0, first + n_known - reach) :]


def sliding_max(values: npt.NDArray[np.float32], reach: int) -> npt.NDArray[np.float32]:
    """[n]: the highest of each value and up to `reach` on either side."""
    if reach >= len(values):
        return np.full_like(values, values.max())
    from scipy.ndimage import maximum_filter1d  # only long recordings need it

    # Beyond the ends it repeats them, and a window that reaches there has them anyway.
    return np.asarray(maximum_filter1d(values, 2 * reach + 1, mode="nearest"))
