"""What the page of make survey shows of a clip: pictures, sound, what was measured of it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.progress import progress_bar
from core.sandbox import SandboxLimits
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import read_each
from preprocess.dataset.labels import split_labels
from recipe import Features
from report.dataset.clip_analysis import analyse_clip, mean_spectrum
from report.dataset.spectra import centroid_chart
from report.media.data_uris import audio_uri, picture_uri

Spectrum = npt.NDArray[np.float32]


def build_cards(
    clips: Sequence[str],
    table: pd.DataFrame,
    names: Mapping[str, str],
    features: Features,
    n_jobs: int,
    limits: SandboxLimits,
) -> tuple[dict[str, dict[str, Any]], dict[str, Spectrum]]:
    """A card and the mean spectrum [n_bins] of each clip of the table, which clips index, by name.

    A card's `no_sound` says why a clip has neither player nor pictures nor spectrum.
    """
    cards, spectra = dict[str, dict[str, Any]](), dict[str, Spectrum]()
    rows = table.loc[list(clips)].to_dict("records")
    paths = [row["path"] for row in rows]
    with (
        progress_bar(len(paths), "page", "clip") as bar,
        closing(read_each(analyse_clip, paths, features, n_jobs=n_jobs, limits=limits)) as results,
    ):
        for index, result in results:
            clip, row = clips[index], rows[index]
            card: dict[str, Any] = {"clip": clip} | {key: row[key] for key in ("fold", "label_quality")}
            card["labels"] = [names[label] for label in split_labels(row["labels"])]
            if isinstance(result, DecodeError):
                card |= {"audio": None, "no_sound": result.reason}
            else:
                spectra[clip] = np.asarray(result.frames.mean(axis=0))
                card |= {
                    "audio": audio_uri(result.mp3),
                    "picture": picture_uri(result.frames),
                    "waveform": picture_uri(result.samples[:, None]),
                    "chart": centroid_chart(result, features.sample_rate_hz / 2),
                }
            cards[clip] = card
            bar.update()
    return cards, spectra


def read_spectra(
    clips: Sequence[str], table: pd.DataFrame, features: Features, n_jobs: int, limits: SandboxLimits
) -> dict[str, Spectrum]:
    """The mean spectrum [n_bins] of each clip that can be read, by name."""
    paths = table.loc[list(clips), "path"].tolist()
    with (
        progress_bar(len(paths), "spectra", "clip") as bar,
        closing(read_each(mean_spectrum, paths, features, n_jobs=n_jobs, limits=limits)) as results,
    ):
        spectra = dict[str, Spectrum]()
        for index, result in results:
            if not isinstance(result, DecodeError):
                spectra[clips[index]] = result
            bar.update()
    return spectra
