"""Section `features`: how a recording becomes frames."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from core.errors import UserError
from recipe.bounds import Bounds, Section

CHROMA_OCTAVES = 7
"""Octaves that cqt_chroma folds into one."""


@dataclass(frozen=True)
class Features(Section):
    """How a recording becomes frames. A store belongs to exactly one of these."""

    kind: Literal["logmel", "stft", "cqt", "cqt_chroma", "waveform"] = "logmel"
    """Content of the frames: mel bands, STFT bins or constant-Q bins in dB, chroma from 0 to 1, or samples."""
    sample_rate_hz: Annotated[int, Bounds(1_000, 384_000)] = 44_100
    """Recordings are resampled to this rate."""
    channel: Literal["mean", "left", "right"] | Annotated[int, Bounds(0, 1023)] = "mean"
    """Of recordings with several channels: their mean, or one of them, counted from 0; left is 0, right is 1."""
    n_fft: Annotated[int, Bounds(16, 1 << 20)] = 2048
    """Samples in an analysis window (Hann), for logmel and stft."""
    hop_length: Annotated[int, Bounds(1, 1 << 20)] = 690
    """Samples between two frames; for waveform, frames follow each other without overlap."""
    n_bins: Annotated[int, Bounds(1, 4096)] = 128
    """Bins of a frame; stft is resized to as many, and a waveform is cut into frames of as many samples."""
    fmin_hz: Annotated[float, Bounds(0)] = 20.0
    """Lower edge of logmel's lowest band; centre of the lowest bin of cqt and cqt_chroma."""
    fmax_hz: Annotated[float, Bounds(1)] | None = None
    """Upper edge of logmel's highest band; by default half the rate."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """Spacing of logmel's bands."""
    center: bool = True
    """Frame i of logmel and stft is centred on sample i * hop_length, silence beyond the ends; else it begins there."""
    bins_per_octave: Annotated[int, Bounds(1, 96)] = 12
    """Bins per octave of cqt, and of the constant-Q bins that cqt_chroma folds into n_bins."""
    frames_per_second: Annotated[float, Bounds(0.1, 10_000)] | None = None
    """Frame rate to which stft is resized; by default sample_rate_hz / hop_length."""
    top_db: Annotated[float, Bounds(1, 200)] | None = None
    """Range in dB below the highest value in the 30 s before and after, to whose floor lower values are raised; by
    default none."""
    trim_top_db: Annotated[float, Bounds(1, 200)] | None = None
    """Silence this much below the clip's loudest is cut off at both ends; by default not."""
    min_seconds: Annotated[float, Bounds(0, 3600)] = 0.0
    """Trimming leaves at least this much; a shorter recording gets silence at both ends."""
    pitch_shifts: list[Annotated[float, Bounds(-48, 48)]] = field(default_factory=list)
    """Semitones: each makes a copy of every training clip, stored as a variant beside it."""
    time_stretches: list[Annotated[float, Bounds(0.1, 10)]] = field(default_factory=list)
    """Speeds (2 is twice as fast): each makes a copy of every training clip."""
    noise_snrs_db: list[Annotated[float, Bounds(-40, 100)]] = field(default_factory=list)
    """Signal-to-noise ratios of white noise: each makes a copy of every training clip."""
    reverberation_times_s: list[Annotated[float, Bounds(0.01, 10)]] = field(default_factory=list)
    """Times in which a room's sound falls by 60 dB: each makes a copy of every training clip, in a room of its own."""
    echo_delays_s: list[Annotated[float, Bounds(0.001, 5)]] = field(default_factory=list)
    """Delays of echoes, each half as loud as the one before: each makes a copy of every training clip."""
    storage: Literal["float16", "uint8", "int16"] = "float16"
    """Type of the stored frames: int16 for waveform; float16, or uint8 in half the space, for all others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        nyquist_hz = self.sample_rate_hz / 2
        fmax_hz = self.fmax_hz or nyquist_hz
        if (self.storage == "int16") != (self.kind == "waveform"):
            raise UserError(f"features.storage = {self.storage}: int16 is for waveform alone, and waveform for int16")
        if self.frames_per_second and self.kind != "stft":
            raise UserError(f"features.frames_per_second = {self.frames_per_second:g}: only stft is resized in time")
        if self.top_db is not None and self.kind in ("waveform", "cqt_chroma"):
            raise UserError(f"features.top_db = {self.top_db:g}: {self.kind} is not in decibels; leave it out")
        if self.kind == "stft" and self.n_bins > self.n_fft // 2 + 1:
            raise UserError(f"features.n_bins = {self.n_bins}: an n_fft of {self.n_fft} has {self.n_fft // 2 + 1} bins")
        if self.kind == "logmel" and not self.fmin_hz < fmax_hz <= nyquist_hz:
            raise UserError(
                f"features.fmin_hz = {self.fmin_hz:g} and fmax_hz = {fmax_hz:g}: must rise, to {nyquist_hz:g} at most, "
                "half of features.sample_rate_hz"
            )
        if self.kind in ("cqt", "cqt_chroma"):
            self._check_octaves(nyquist_hz)

    def _check_octaves(self, nyquist_hz: float) -> None:
        n_octaves = CHROMA_OCTAVES if self.kind == "cqt_chroma" else self.n_bins / self.bins_per_octave
        if not 0 < self.fmin_hz <= nyquist_hz * 2.0**-n_octaves:
            raise UserError(
                f"features.fmin_hz = {self.fmin_hz:g}: {n_octaves:.3g} octaves of {self.kind} from there do not fit "
                f"between 0 and {nyquist_hz:g} Hz, half of features.sample_rate_hz"
            )
        if self.kind == "cqt_chroma" and self.bins_per_octave % self.n_bins:
            bins = self.bins_per_octave
            raise UserError(f"features.bins_per_octave = {bins}: must be a multiple of n_bins, {self.n_bins}")
