"""Which clips the page of `make inspect` shows, and what of each."""

import itertools
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from predict.output.summary import Findings
from preprocess.audio.blocks import DecodeError
from report.clip_media import Gallery
from report.media import map_uri, picture_uri, sound_uri
from report.saliency import Mapper

EACH = 10
"""Clips of a kind in the summary."""
SOUND_S = 10.0
"""Seconds of a clip that the page plays."""
TOP = 5
"""Labels shown of a clip."""
REASONS = {
    "mistake": "decided wrongly",
    "unlabelled": "no confident label",
    "least": "least sure",
    "surest": "surest",
    "example": "surest of a label",
}
"""Why a clip is on the page."""


def choose_cards(findings: Findings, most: int) -> dict[int, list[str]]:
    """The clips to show, at most `most`, in order, with the reasons why: the keys of REASONS."""
    chosen: dict[int, list[str]] = {}
    kinds = {
        "mistake": findings.mistakes()[: most // 2],
        "unlabelled": findings.unlabelled()[:EACH],
        "least": findings.least_sure(EACH),
        "surest": findings.surest(EACH),
    }
    for reason, rows in kinds.items():
        for row in rows:
            if row in chosen or len(chosen) < most:
                chosen.setdefault(row, []).append(reason)
    others = (row for row in findings.examples() if row not in chosen)
    return chosen | {row: ["example"] for row in itertools.islice(others, most - len(chosen))}


def build_cards(
    findings: Findings, chosen: dict[int, list[str]], gallery: Gallery, mapper: Mapper | None = None
) -> list[dict[str, Any]]:
    """What the page shows of each chosen clip: picture, sound, highest scores, true labels, where they were heard."""
    cards = []
    for index, reasons in tqdm(chosen.items(), "page", unit="clip", disable=None):
        clip, labels = findings.clips[index], findings.top_labels(index, TOP)
        frames = gallery.frames(clip)
        if mapper and frames is not None:
            maps = mapper.maps(clip, torch.from_numpy(frames), [label["label"] for label in labels])
            labels = [label | {"map": map_uri(each)} for label, each in zip(labels, maps, strict=True)]
        cards.append(
            {
                "clip": clip,
                "reasons": reasons,
                "picture": None if frames is None else picture_uri(frames),
                "duration_s": gallery.duration_s(clip),
                # Without frames its decoder may have died of it, which only workers survive.
                "sound": None if frames is None else _sound(gallery.path(clip)),
                "known": bool(findings.known[index]),
                "labels": labels,
            }
        )
    return cards


def _sound(path: Path | None) -> str | None:
    """The recording as a data URI, or None where it is no longer there or cannot be read."""
    try:
        return sound_uri(path, SOUND_S) if path else None
    except DecodeError:
        return None
