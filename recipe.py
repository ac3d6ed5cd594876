"""The recipe of a system: what it reads, hears, learns with and answers, as frozen dataclasses."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from errors import BadInput


@dataclass(frozen=True)
class Between:
    """Bounds of a number in a recipe, both inclusive."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


CHROMA_OCTAVES = 7
"""Octaves that cqt_chroma folds into one."""

Count = Annotated[int, Between(1)]
Natural = Annotated[int, Between(0)]
Share = Annotated[float, Between(0, 1)]
Seconds = Annotated[float, Between(0.001, 86_400)]


def _bounds(annotation: Any) -> Between | None:
    """The Between of `X`, `X | None` or `list[X]`."""
    if get_origin(annotation) is Annotated:
        return next((extra for extra in annotation.__metadata__ if isinstance(extra, Between)), None)
    return next((bounds for part in get_args(annotation) if (bounds := _bounds(part))), None)


@dataclass(frozen=True)
class Section:
    """A part of a recipe that refuses numbers out of their bounds."""

    def __post_init__(self) -> None:
        section = type(self).__name__.lower()
        for name, annotation in get_type_hints(type(self), include_extras=True).items():
            bounds, value = _bounds(annotation), getattr(self, name)
            for number in value if isinstance(value, list | tuple) else [value]:
                if bounds and isinstance(number, int | float) and not bounds.low <= number <= bounds.high:
                    raise BadInput(f"{section}.{name} = {number}: must be {bounds}")


@dataclass(frozen=True)
class Data(Section):
    """Which recordings there are and what is known of them."""

    layout: Literal["folders", "csv", "esc50", "fsdkaggle2019", "irmas", "notes"] = "folders"
    """How the folder is laid out: a folder a class, a table of labels, as a known dataset is, or named by its notes."""
    folder: str = ""
    """The dataset's folder."""
    table: str | None = None
    """The CSV of layout `csv` (fname,labels[,fold,group,split,trust]); by default labels.csv in the folder."""
    labels: list[str] | None = None
    """The vocabulary, in order; by default the dataset's own, or every label of the training clips, sorted."""
    note_octaves: bool = True
    """Labels of layout `notes`: notes with their octaves (A3), or pitch classes (A)."""
    folds: Annotated[int, Between(2, 100)] = 5
    """Number of folds, where the dataset brings none of its own; groups stay whole, labels are spread evenly."""
    seed: Natural = 0
    """Seed of the folds that are chosen here."""
    irmas_share: Share = 0.0
    """Share of IRMAS's testing parts, whole pieces from the first on, that is for training; the rest is the test."""


@dataclass(frozen=True)
class Features(Section):
    """How a recording becomes frames. A store belongs to exactly one of these."""

    kind: Literal["logmel", "stft", "cqt", "cqt_chroma", "waveform"] = "logmel"
    """Frames of what: mel bands, STFT bins or constant-Q bins in dB, chroma from 0 to 1, or samples."""
    rate_hz: Annotated[int, Between(1_000, 384_000)] = 44_100
    """Recordings are resampled to this rate."""
    n_fft: Annotated[int, Between(16, 1 << 20)] = 2048
    """Samples in an analysis window (Hann), for logmel and stft."""
    hop_samples: Annotated[int, Between(1, 1 << 20)] = 690
    """Samples between two frames; for waveform, frames follow each other without overlap."""
    n_bins: Annotated[int, Between(1, 4096)] = 128
    """Bins of a frame; stft is resized to as many, and a waveform is cut into frames of as many samples."""
    fmin_hz: Annotated[float, Between(0)] = 20.0
    """Lower edge of logmel's lowest band; centre of the lowest bin of cqt and cqt_chroma."""
    fmax_hz: Annotated[float, Between(1)] | None = None
    """Upper edge of logmel's highest band; by default half the rate."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """Where logmel's bands lie."""
    centre: bool = True
    """Frame i of logmel and stft lies around sample i * hop_samples, silence beyond the ends; else it begins there."""
    bins_per_octave: Annotated[int, Between(1, 96)] = 12
    """Of cqt, and of the constant-Q bins that cqt_chroma folds into n_bins."""
    frames_per_second: Annotated[float, Between(0.1, 10_000)] | None = None
    """stft is resized to as many; by default rate_hz / hop_samples."""
    top_db: Annotated[float, Between(1, 200)] | None = None
    """Values in dB are raised to this much below the clip's highest; by default not."""
    trim_top_db: Annotated[float, Between(1, 200)] | None = None
    """Silence this much below the clip's loudest is cut off at both ends; by default not."""
    min_seconds: Annotated[float, Between(0, 3600)] = 0.0
    """Trimming leaves at least this much; a shorter recording gets silence at both ends."""
    pitch_shifts: list[Annotated[float, Between(-48, 48)]] = field(default_factory=list)
    """Semitones: each makes a copy of every training clip, stored as a variant beside it."""
    time_stretches: list[Annotated[float, Between(0.1, 10)]] = field(default_factory=list)
    """Speeds (2 is twice as fast): each makes a copy of every training clip."""
    noise_snrs_db: list[Annotated[float, Between(-40, 100)]] = field(default_factory=list)
    """Signal-to-noise ratios of white noise: each makes a copy of every training clip."""
    storage: Literal["float16", "uint8", "int16"] = "float16"
    """Type of the stored frames: int16 for waveform; float16, or uint8 in half the space, for all others."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.storage == "int16") != (self.kind == "waveform"):
            raise BadInput(f"features.storage = {self.storage}: int16 is for waveform alone, and waveform for int16")
        if self.frames_per_second and self.kind != "stft":
            raise BadInput(f"features.frames_per_second = {self.frames_per_second:g}: only stft is resized in time")
        if self.kind == "logmel":
            self._check_bands(self.fmax_hz or self.rate_hz / 2)
        elif self.kind == "stft" and self.n_bins > self.n_fft // 2 + 1:
            raise BadInput(f"features.n_bins = {self.n_bins}: an n_fft of {self.n_fft} has {self.n_fft // 2 + 1} bins")
        elif self.kind in ("cqt", "cqt_chroma"):
            self._check_octaves()

    def _check_bands(self, fmax_hz: float) -> None:
        if not self.fmin_hz < fmax_hz <= self.rate_hz / 2:
            raise BadInput(
                f"features.fmin_hz = {self.fmin_hz:g} and fmax_hz = {fmax_hz:g}: must rise, to {self.rate_hz / 2:g} "
                f"at most, half of features.rate_hz"
            )

    def _check_octaves(self) -> None:
        n_octaves = CHROMA_OCTAVES if self.kind == "cqt_chroma" else self.n_bins / self.bins_per_octave
        if not 0 < self.fmin_hz * 2**n_octaves <= self.rate_hz / 2:
            raise BadInput(
                f"features.fmin_hz = {self.fmin_hz:g}: {n_octaves:.3g} octaves of {self.kind} from there "
                f"do not fit between 0 and {self.rate_hz / 2:g} Hz, half of features.rate_hz"
            )
        if self.kind == "cqt_chroma" and self.bins_per_octave % self.n_bins:
            raise BadInput(
                f"features.bins_per_octave = {self.bins_per_octave}: must be a multiple of n_bins, {self.n_bins}"
            )


@dataclass(frozen=True)
class Network(Section):
    """What learns."""

    name: Literal[
        "cnn_small",
        "resnet_small",
        "waveform",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnext50_32x4d",
        "alexnet",
        "vgg16_bn",
        "densenet121",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "convnext_tiny",
    ] = "cnn_small"
    """A small network for CPUs, a residual one, 1-D convolutions for raw waveforms, or one of torchvision's."""
    weights: str | None = None
    """Where a torchvision network starts: `imagenet` (downloaded once), or a file of such weights."""
    channels: Literal["one", "copies", "deltas"] = "one"
    """What the first layer sees: frames (weights summed over RGB), three copies, or frames and two derivatives."""
    normalise: Literal["overall", "bins", "imagenet"] = "overall"
    """By one mean and deviation, by those of each bin, or to ImageNet's brightness and colours (three copies only)."""
    pooling: Literal["mean", "mean_max", "attention"] = "mean_max"
    """How columns of time become one vector; alexnet and vgg16_bn keep their own."""
    hidden: Annotated[int, Between(0, 65_536)] = 0
    """Units of a hidden layer before the last; 0 is none. alexnet and vgg16_bn keep their own."""
    dropout: Share = 0.2
    """Dropout before each layer of the head."""
    modulation_units: Annotated[int, Between(0, 4096)] = 0
    """Units beside the trunk that hear how fast each band's loudness swings over a whole window; 0 is none."""


@dataclass(frozen=True)
class Training(Section):
    """How it learns."""

    epochs: Count = 60
    """Passes over the training clips."""
    batch_size: Count = 32
    """Clips in a batch."""
    crop_seconds: Seconds = 3.0
    """Length of a random crop."""
    progressive: list[Annotated[float, Between(0.05, 1)]] | None = None
    """Shares of crop length and of bins, as [0.5, 1], each for an equal part of the epochs; by default all of both."""
    seed: Natural = 0
    """Seed of weights, crops and mixing; each fold draws its own from it."""
    seeds: Count = 1
    """Networks a fold, from as many seeds on; their scores are averaged."""
    metric: Literal["lwlrap", "map", "accuracy", "f1_micro", "f1_macro", "last"] = "lwlrap"
    """The score of the held-out fold that names the best epoch; last takes the last one, so that nothing is chosen."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Who steps; weight decay is decoupled in adamw only, and spares biases and normalisation layers in all."""
    max_lr: Annotated[float, Between(1e-8, 100)] | str = 3e-3
    """Highest learning rate; of a slice, as 1e-4..1e-2, the first layers have the lower and the head the higher."""
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"] = "one_cycle"
    """Learning rate by the step; plateau divides it by ten when `metric` has not risen for `patience` epochs."""
    warmup: Share = 0.3
    """Share of the steps in which the rate rises, for one_cycle and cosine."""
    patience: Count = 5
    """Epochs without a better score before plateau lowers the rate."""
    momentum: Annotated[float, Between(0, 0.9999)] = 0.9
    """Momentum of sgd, first beta of adam and adamw; one_cycle moves it between 0.85 and 0.95 instead."""
    weight_decay: Annotated[float, Between(0, 10)] = 0.01
    """Weight decay."""
    clip_gradient: Annotated[float, Between(0)] = 5.0
    """Longest gradient, as a norm over all weights; 0 does not clip."""
    average: Annotated[float, Between(0, 0.99999)] = 0.0
    """Decay a step of the moving average of weights, which is then what is scored and kept; 0 is none."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; auto is bfloat16 on a GPU that has it, float32 elsewhere."""
    compile: bool = False
    """Compile the network with torch.compile: slow first steps, faster later ones."""
    start_from: str | None = None
    """Fine-tune from the weights of another run: its folder (fold k from its fold k), or one checkpoint of it."""
    freeze_epochs: Natural = 0
    """For so many epochs only the head learns; as many as `epochs` keeps the rest frozen throughout."""

    loss: Literal["bce", "focal", "cross_entropy"] = "bce"
    """A yes or no for each label; the same with easy ones counting less; or one label a clip."""
    focal_gamma: Annotated[float, Between(0, 10)] = 2.0
    """How much less easy ones count, for focal."""
    label_smoothing: Share = 0.0
    """Share of each target that is spread evenly: over yes and no, or over labels for cross_entropy."""
    noisy_weight: Annotated[float, Between(0, 10)] = 1.0
    """Weight of a noisy clip's loss beside a curated one's 1; 0 leaves noisy clips out."""
    bootstrap_beta: Share = 1.0
    """Share of a noisy clip's target that is its label, the rest being what the network says (soft bootstrap)."""
    corrections: str | None = None
    """CSV `clip,labels` of better labels for training clips; the word drop for labels leaves a clip out."""
    teacher: str | None = None
    """Folder of another run: its network of the same fold, which never saw the clips held out, judges noisy labels."""
    teacher_keeps: Share = 0.2
    """A noisy clip keeps a label that the teacher scores so high; where it keeps and gains none, it is left out."""
    teacher_adds: Share = 0.8
    """A noisy clip gains a label that the teacher scores so high."""

    # augmentation
    short_clips: Literal["wrap", "floor", "repeat"] = "wrap"
    """Clips shorter than a crop run round from any point, lie anywhere in silence, or repeat from their beginning."""
    variant_probability: Share = 0.5
    """How often an offline copy of a clip is drawn instead of the recording, where the store has copies."""
    noisy_rate: Annotated[float, Between(0, 100)] = 1.0
    """Noisy clips drawn for each curated one; an epoch is all curated clips and these."""
    label_rule: Literal["united", "weighted"] = "united"
    """Labels of a mixture: all those of its clips, or each in proportion to its clip's share."""
    mixup_probability: Share = 0.0
    """Clips interpolated with another."""
    mixup_alpha: Annotated[float, Between(0.05, 10)] = 1.0
    """The other's share is drawn from Beta(alpha, alpha); 1 is uniform."""
    mixup_max_share: Share = 0.5
    """Largest share of the other, by which the draw is multiplied."""
    power_mix_probability: Share = 0.0
    """Clips that sound together with others, added as power."""
    power_mix_clips: Annotated[int, Between(2, 5)] = 3
    """Most clips that sound together; 2 to so many are equally likely."""
    power_mix_db: Annotated[float, Between(0, 60)] = 6.0
    """The others are quieter by up to so many decibels."""
    crossfade_probability: Share = 0.0
    """Clips faded into another in time; the probabilities of the three ways of mixing add up to 1 at most."""
    crossfade_share: Share = 0.5
    """Longest fade, as a share of the crop."""
    pitch_roll_probability: Share = 0.0
    """Clips moved up or down by whole bins."""
    pitch_roll_bins: Count = 3
    """Most bins by which they move."""
    resized_crop_probability: Share = 0.0
    """Clips of which a part is stretched to the whole crop, in time and in frequency."""
    resized_crop_scale: Annotated[float, Between(0.05, 1)] = 0.8
    """Smallest part, as a share of frames and of bins."""
    time_roll_probability: Share = 0.0
    """Crops turned round in time."""
    silence_probability: Share = 0.0
    """Clips with a span of silence, before mixing."""
    silence_share: Share = 0.3
    """Longest span of silence, as a share of the crop."""
    gain_probability: Share = 0.0
    """Clips made louder or quieter, before mixing."""
    gain_db: Annotated[float, Between(0, 60)] = 6.0
    """Largest change of gain."""
    noise_probability: Share = 0.0
    """Mixtures with white noise."""
    noise_snr_db: Annotated[tuple[float, float], Between(-40, 120)] = (10.0, 30.0)
    """Lowest and highest ratio of a mixture's mean power to the noise's."""
    time_mask_probability: Share = 0.0
    """Mixtures with spans of frames hidden (SpecAugment)."""
    time_mask_share: Share = 0.2
    """Longest hidden span, as a share of the crop."""
    frequency_mask_probability: Share = 0.0
    """Mixtures with spans of bins hidden (SpecAugment)."""
    frequency_mask_share: Share = 0.15
    """Widest hidden span, as a share of the bins."""
    masks: Annotated[int, Between(1, 20)] = 2
    """Most spans hidden in each direction."""
    mask_fill: Literal["mean", "floor", "zero"] = "mean"
    """What stands in hidden spans: the crop's mean, its lowest value, or 0; in a waveform always 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.lr_range
        self._check_augmentation()

    def _check_augmentation(self) -> None:
        mixing = ("mixup_probability", "power_mix_probability", "crossfade_probability")
        total = sum(getattr(self, key) for key in mixing)
        if total > 1 + 1e-9:
            keys = " + ".join(f"training.{key}" for key in mixing)
            raise BadInput(f"{keys} = {total:g}: a clip is mixed in one way at most, so together they are at most 1")
        low_db, high_db = self.noise_snr_db
        if low_db > high_db:
            raise BadInput(f"training.noise_snr_db = [{low_db:g}, {high_db:g}]: the lower ratio comes first")

    @property
    def lr_range(self) -> tuple[float, float]:
        """The highest learning rates of the first layers and of the head. Raises BadInput."""
        try:
            low, _, high = str(self.max_lr).partition("..")
            rates = float(low), float(high or low)
        except ValueError:
            raise BadInput(f"training.max_lr = {self.max_lr!r}: write a number, or a slice as 1e-4..1e-2") from None
        if not 1e-8 <= rates[0] <= rates[1] <= 100:
            raise BadInput(f"training.max_lr = {self.max_lr}: must rise within 1e-08 and 100")
        return rates


@dataclass(frozen=True)
class Prediction(Section):
    """How it answers, for held-out folds as for new recordings."""

    window_seconds: Seconds = 3.0
    """Length of a window."""
    hop_seconds: Seconds = 1.0
    """From one window's start to the next's."""
    mode: Literal["dense", "exact"] = "exact"
    """dense: the network passes over a clip once and windows share its columns. exact: over each window by itself."""
    pooling: Literal["mean", "max", "top_k", "power", "share", "centre"] = "mean"
    """How a clip's windows become one score a label; share is that of the windows above `window_threshold`, centre
    takes the middle window alone."""
    top_k: Count = 3
    """Windows whose mean is taken, the highest of each label, for top_k."""
    power: Annotated[float, Between(1, 100)] = 3.0
    """Exponent of the power mean: 1 is the mean, 100 almost the maximum."""
    window_threshold: Share = 0.5
    """Score above which a window has a label, for share."""
    blend: Literal["mean", "geometric"] = "mean"
    """How the networks of a run become one."""
    calibrate: bool = False
    """Soften or sharpen scores by the temperature that make calibrate fitted, so that they are as often right."""
    view_copies: bool = False
    """Views: hear a clip's offline copies as well, and average; make features then copies test clips, too."""
    view_shifts_s: list[Annotated[float, Between(-60, 60)]] = field(default_factory=list)
    """Views: hear each window so much later (below 0: earlier) as well, and average."""
    view_gains_db: list[Annotated[float, Between(-60, 60)]] = field(default_factory=list)
    """Views: hear each window so much louder (below 0: quieter) as well, and average."""
    view_windows_s: list[Seconds] = field(default_factory=list)
    """Views: hear so much about each window's middle as well, and average."""


@dataclass(frozen=True)
class Tuning(Section):
    """How make tune chooses thresholds: on out-of-fold scores, and never on test clips."""

    metric: Literal["f1_micro", "f1_macro", "hamming"] = "f1_micro"
    """What thresholds make the most of."""
    per_label: bool = False
    """A threshold a label, instead of one for all."""
    mixtures: Natural = 0
    """Tune on so many pieces mixed from out-of-fold clips, instead of on these clips as they are."""
    entries: Share = 0.5
    """Voices of such a piece that come and go, but for the first; the others sound from beginning to end."""


@dataclass(frozen=True)
class Recipe:
    """A whole system. The name is that of its file, and of its folder under cache/."""

    name: str = "recipe"
    data: Data = field(default_factory=Data)
    features: Features = field(default_factory=Features)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    prediction: Prediction = field(default_factory=Prediction)
    tuning: Tuning = field(default_factory=Tuning)


SECTIONS: dict[str, type[Section]] = {
    f.name: get_type_hints(Recipe)[f.name] for f in fields(Recipe) if f.name != "name"
}


def as_dict(part: Recipe | Section) -> dict[str, Any]:
    """Plain values of a recipe or a section, ready for JSON or YAML."""
    return asdict(part)
