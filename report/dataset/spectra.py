"""Mean spectra of labels, distributions of recordings and centroids of clips as charts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from preprocess.frames.filterbank import mel_edges_hz
from recipe import Features
from report.dataset.clip_analysis import ClipAnalysis
from report.media.charts import Chart, Line, make_chart, pick_colour

N_HISTOGRAM_BINS = 30
INK, FAINT = "var(--accent)", "var(--faint)"
Values = npt.NDArray[np.floating]


def bin_axis(features: Features) -> tuple[str, Values]:
    """The name of the axis of a recipe's bins, and where they lie on it [n_bins]."""
    n_bins, nyquist_hz = features.n_bins, features.sample_rate_hz / 2
    if features.kind == "cqt_chroma":
        return "semitones above C", np.arange(n_bins) * 12 / n_bins
    if features.kind == "cqt":
        bins_hz = features.fmin_hz * 2 ** (np.arange(n_bins) / features.bins_per_octave)
    elif features.kind == "stft":
        bins_hz = (np.arange(n_bins) + 0.5) * nyquist_hz / n_bins
    else:
        bins_hz = mel_edges_hz(features, n_bins)[1:-1]
    return "kHz", bins_hz / 1000


def spectrum_charts(spectra: Mapping[str, Sequence[Values]], features: Features) -> dict[str, Chart | None]:
    """The mean spectrum of each label, from those of its clips [n_bins], beside the mean of all labels."""
    x_label, places = bin_axis(features)
    means = {label: np.mean(values, axis=0) for label, values in spectra.items() if values}
    overall = np.mean(list(means.values()), axis=0) if means else np.zeros(0)
    y_range = (float(np.min(list(means.values()))), float(np.max(list(means.values())))) if means else None

    def points(values: Values) -> list[tuple[float, float]]:
        return list(zip(places.tolist(), values.tolist(), strict=True))

    unit = "mean chroma" if features.kind == "cqt_chroma" else "mean level in dB"
    return {
        label: make_chart(
            f"{unit} of {len(spectra[label])} clips",
            x_label,
            [
                Line("all labels", FAINT, points(overall), dashed=True),
                Line("this label", pick_colour(0), points(mean)),
            ],
            y_range=y_range,
        )
        for label, mean in means.items()
    }


def histogram_chart(title: str, x_label: str, values: Sequence[float]) -> Chart | None:
    """How many of the values lie where, as an outline."""
    counts, edges = np.histogram(values, bins=N_HISTOGRAM_BINS if len(set(values)) > 1 else 1)
    steps = [(edge, count) for count, sides in zip(counts, pairwise(edges), strict=True) for edge in sides]
    points = [(float(edge), float(count)) for edge, count in steps]
    outline = Line(title, INK, [(points[0][0], 0.0), *points, (points[-1][0], 0.0)])
    return make_chart(title, x_label, [outline], y_range=(0.0, float(counts.max())))


def centroid_chart(analysis: ClipAnalysis, nyquist_hz: float) -> Chart | None:
    """Spectral centroid over time, between lines a bandwidth above and below; None for digital silence."""
    if np.isnan(analysis.centroid_hz).all():
        return None
    centroid, bandwidth = analysis.centroid_hz / 1000, analysis.bandwidth_hz / 1000
    curves = {"centroid": centroid, "centroid + bandwidth": centroid + bandwidth, "- bandwidth": centroid - bandwidth}
    lines = [
        Line(name, INK if name == "centroid" else FAINT, points, dashed=name != "centroid")
        for name, values in curves.items()
        if (points := list(zip(analysis.time_s.tolist(), values.clip(0, nyquist_hz / 1000).tolist(), strict=True)))
    ]
    means_hz = np.nanmean(analysis.centroid_hz), np.nanmean(analysis.bandwidth_hz)
    title = "centroid {:,.0f} Hz, bandwidth {:,.0f} Hz on average".format(*means_hz)
    return make_chart(title, "s", lines, y_range=(0.0, nyquist_hz / 1000))
