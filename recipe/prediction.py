"""Sections `prediction` and `tuning`: how a run scores recordings, and how its thresholds are chosen."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from recipe.bounds import Bounds, Fraction, NonNegativeInt, Seconds, Section

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Prediction(Section):
    """How recordings are scored; oof.csv in the same way, but for calibration."""

    window_seconds: Seconds = 3.0
    """Length of a window."""
    hop_seconds: Seconds = 1.0
    """From one window's start to the next's."""
    mode: Literal["dense", "exact"] = "exact"
    """dense: the network passes over a clip once and windows share its columns, where it can; network.modulation_units
    cannot. exact: over each window by itself."""
    pooling: Literal["mean", "max", "vote_fraction", "center"] = "mean"
    """How a clip's windows become one score a label; vote_fraction is the share of windows above `window_threshold`
    (and ranks equal shares by the mean), center takes the middle window alone."""
    threshold: Fraction | None = None
    """Score from which on a clip has a label, but for vote_fraction; by default what make tune chose, or 0.5."""
    window_threshold: Fraction | None = None
    """Score above which a window has a label, for vote_fraction; by default what make tune chose, or 0.5."""
    vote_threshold: Fraction | None = None
    """Share of windows from which on a clip has a label, for vote_fraction; by default what make tune chose, or 0.5."""
    blend: Literal["mean", "geometric"] = "mean"
    """How the networks of a run become one."""
    calibrate: bool = False
    """Scale scores by the temperatures that make calibrate fitted, so that they are as often right as they say."""
    view_shifts_s: list[Annotated[float, Bounds(-60, 60)]] = field(default_factory=list)
    """Views: score each window so much later (below 0: earlier) as well, and average."""
    view_gains_db: list[Annotated[float, Bounds(-60, 60)]] = field(default_factory=list)
    """Views: score each window so much louder (below 0: quieter) as well, and average."""

    def count_above(self) -> float:
        """The window threshold, or the default."""
        return DEFAULT_THRESHOLD if self.window_threshold is None else self.window_threshold

    def fixed_threshold(self) -> tuple[str, float | None]:
        """The key that decides on a clip's scores by this pooling, and its value."""
        key = "vote_threshold" if self.pooling == "vote_fraction" else "threshold"
        return f"prediction.{key}", getattr(self, key)


@dataclass(frozen=True)
class Tuning(Section):
    """How make tune chooses thresholds: on out-of-fold scores, and never on test clips."""

    metric: Literal["f1_micro", "f1_macro", "hamming"] = "f1_micro"
    """What thresholds make the most of."""
    per_label: bool = False
    """A threshold a label, instead of one for all."""
    mixtures: NonNegativeInt = 0
    """Tune on so many pieces mixed from out-of-fold clips, instead of on these clips as they are."""
    intermittent_probability: Fraction = 0.5
    """How often a voice of such a piece, but for the first, comes and goes instead of sounding throughout."""
