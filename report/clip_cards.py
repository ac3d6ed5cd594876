"""Which clips the page of `make inspect` shows, and what of each."""

import itertools
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from predict.output.summary import SubmissionSummary
from preprocess.audio.blocks import DecodeError
from report.clip_media import ClipMedia
from report.media import audio_uri, picture_uri, saliency_uri
from report.saliency import SaliencyMapper

CLIPS_PER_REASON = 10
"""Clips of a kind in the summary."""
AUDIO_S = 10.0
"""Seconds of a clip that the page plays."""
N_TOP_LABELS = 5
"""Labels shown of a clip."""
REASONS = {
    "error": "decided wrongly",
    "unlabelled": "no confident label",
    "least_confident": "least confident",
    "most_confident": "most confident",
    "example": "most confident per label",
}
"""Why a clip is on the page."""


def select_clips(summary: SubmissionSummary, most: int) -> dict[int, list[str]]:
    """The clips to show, at most `most`, in order, with the reasons why: the keys of REASONS."""
    chosen: dict[int, list[str]] = {}
    kinds = {
        "error": summary.wrong_clips()[: most // 2],
        "unlabelled": summary.unlabelled()[:CLIPS_PER_REASON],
        "least_confident": summary.least_confident(CLIPS_PER_REASON),
        "most_confident": summary.most_confident(CLIPS_PER_REASON),
    }
    for reason, rows in kinds.items():
        for row in rows:
            if row in chosen or len(chosen) < most:
                chosen.setdefault(row, []).append(reason)
    others = (row for row in summary.examples_per_label() if row not in chosen)
    return chosen | {row: ["example"] for row in itertools.islice(others, most - len(chosen))}


def build_clip_cards(
    summary: SubmissionSummary,
    chosen: dict[int, list[str]],
    clip_media: ClipMedia,
    mapper: SaliencyMapper | None = None,
) -> list[dict[str, Any]]:
    """What the page shows of each chosen clip: picture, sound, highest scores, true labels, saliency maps."""
    cards = []
    for index, reasons in tqdm(chosen.items(), "page", unit="clip", disable=None):
        clip, labels = summary.clips[index], summary.top_labels(index, N_TOP_LABELS)
        frames = clip_media.frames(clip)
        if mapper and frames is not None:
            maps = mapper.saliency(clip, torch.from_numpy(frames), [label["label"] for label in labels])
            labels = [label | {"saliency": saliency_uri(each)} for label, each in zip(labels, maps, strict=True)]
        cards.append(
            {
                "clip": clip,
                "reasons": reasons,
                "picture": None if frames is None else picture_uri(frames),
                "duration_s": clip_media.duration_s(clip),
                # Without frames its decoder may have crashed, and this process would too.
                "audio": None if frames is None else _audio_uri(clip_media.path(clip)),
                "has_truth": bool(summary.has_truth[index]),
                "labels": labels,
            }
        )
    return cards


def _audio_uri(path: Path | None) -> str | None:
    """The recording as a data URI, or None where it is no longer there or cannot be read."""
    try:
        return audio_uri(path, AUDIO_S) if path else None
    except DecodeError:
        return None
