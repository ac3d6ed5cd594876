"""What the page of `make inspect` shows of a clip: its picture, sound, scores and saliency maps."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core.progress import progress_bar
from core.sandbox import SandboxLimits
from predict.inference.dataset_clips import StoredClips
from predict.output.summary import SubmissionSummary
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import read_each
from preprocess.frames.framing import Frames
from preprocess.store.reader import Store
from recipe import Features
from report.media.data_uris import audio_uri, picture_uri, saliency_uri
from report.media.preview import Preview, read_preview
from report.media.saliency import SaliencyMapper
from report.media.spectrogram import spectrogram
from report.summary import top_labels

N_TOP_LABELS = 5
MAX_WINDOWS = 300
"""Of a strip: in longer recordings, neighbouring windows are shown as one, with their highest score."""


@dataclass(frozen=True)
class ClipMedia:
    """The recordings of clips, and their frames: those of a store, or else of the beginning of the recording."""

    paths: Mapping[str, Path]
    features: Features
    limits: SandboxLimits
    """Of the processes that decode."""
    store: Store | None = None

    @cached_property
    def _stored(self) -> StoredClips | None:
        return StoredClips(self.store, torch.device("cpu")) if self.store else None

    def read(self, clips: Sequence[str], n_jobs: int) -> Generator[tuple[str, Preview | DecodeError]]:
        """Yield each clip with its preview, or why there is none, as they are read in sandboxes."""
        known = [clip for clip in clips if clip in self.paths]
        for clip in set(clips) - set(known):
            yield clip, DecodeError(clip, "the dataset has no recording of this name")
        paths = [str(self.paths[clip].absolute()) for clip in known]
        read = partial(read_preview, has_frames=not self.store)
        with closing(read_each(read, paths, self.features, n_jobs=n_jobs, limits=self.limits)) as results:
            for number, result in results:
                yield known[number], result

    def frames_and_place(self, clip: str, preview: Preview | DecodeError) -> tuple[Frames | None, float | None, str]:
        """Frames [n_frames, n_bins] as networks get them, the recording's length in seconds, and CSS for its picture.

        None where they are not known. The CSS puts a stored clip's picture where its frames lie in the recording, whose
        ends may be cut off.
        """
        if not self._stored or clip not in self._stored.rows:
            return (preview.frames, preview.duration_s, "") if isinstance(preview, Preview) else (None, None, "")
        store, row = self._stored.store, self._stored.rows[clip]
        frames, start_s, duration_s = self._stored.read(clip).numpy(), store.start_s[row], float(store.duration_s[row])
        length_s = len(frames) / store.frames_per_second
        if not start_s and length_s >= duration_s:
            return frames, duration_s, ""
        style = f"margin-left:{100 * start_s / duration_s:.2f}%;width:{100 * length_s / duration_s:.2f}%"
        return frames, duration_s, style


def build_clip_cards(
    summary: SubmissionSummary,
    chosen: dict[int, list[str]],
    clip_media: ClipMedia,
    mapper: SaliencyMapper | None,
    n_jobs: int,
    windows: Mapping[str, pd.DataFrame] | None = None,
) -> list[dict[str, Any]]:
    """What the page shows of each chosen clip, by index the reasons why; `no_sound` says why a clip has no player.

    `windows` are those of clips by name, as `read_windows`; a clip without any has no strips.
    """
    rows, cards = {summary.clips[index]: index for index in chosen}, dict[str, dict[str, Any]]()
    with progress_bar(len(rows), "page", "clip") as bar, closing(clip_media.read(list(rows), n_jobs)) as previews:
        for clip, preview in previews:
            index, times = rows[clip], None
            frames, duration_s, style = clip_media.frames_and_place(clip, preview)
            labels = top_labels(summary, index, N_TOP_LABELS)
            if mapper and frames is not None:
                maps = mapper.saliency(clip, torch.from_numpy(frames), [label["label"] for label in labels])
                labels = [label | {"saliency": saliency_uri(each)} for label, each in zip(labels, maps, strict=True)]
            if windows and clip in windows:
                times, strips = window_strips(windows[clip], [label["label"] for label in labels])
                labels = [label | {"strip": strip} for label, strip in zip(labels, strips, strict=True)]
            cards[clip] = {
                "clip": clip,
                "row": index,
                "reasons": chosen[index],
                "picture": None if frames is None else picture_uri(spectrogram(frames, clip_media.features)),
                "picture_style": style,
                "duration_s": duration_s,
                "window_times": times,
                "strip_s": max([duration_s or 0, *times["end_s"]]) if times else None,
                "audio": audio_uri(preview.mp3) if isinstance(preview, Preview) else None,
                "no_sound": preview.reason if isinstance(preview, DecodeError) else None,
                "has_truth": bool(summary.has_truth[index]),
                "labels": labels,
            }
            bar.update()
    return [cards[clip] for clip in rows]


def window_strips(windows: pd.DataFrame, labels: list[str]) -> tuple[dict[str, list[float]], list[list[float | None]]]:
    """When windows (as `read_windows`) start and end in seconds, and for each of `labels` a score a window.

    A score that is not known is None.
    """
    rows = windows.reset_index()
    since_s = rows["start_s"] - rows["start_s"].min()  # where few scores were kept, neighbouring rows are far apart
    share = (since_s / since_s.max() * MAX_WINDOWS).fillna(0).astype(int).clip(upper=MAX_WINDOWS - 1)
    table = rows.groupby(share if len(rows) > MAX_WINDOWS else rows.index)
    times = {"start_s": table["start_s"].min().tolist(), "end_s": table["end_s"].max().tolist()}
    scores = [[None if np.isnan(score) else round(score, 3) for score in table[label].max()] for label in labels]
    return times, scores
