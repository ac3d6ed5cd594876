"""Section `training`: how a network is trained."""

import itertools
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from core.errors import UserError
from recipe.bounds import Bounds, Fraction, NonNegativeInt, PositiveInt, Seconds, Section

N_LR_GROUPS = 3
"""Groups of layers with learning rates of their own: both halves of the trunk, and what is new after it."""


@dataclass(frozen=True)
class Training(Section):
    """How a network is trained."""

    epochs: PositiveInt = 60
    """Passes over the training clips."""
    batch_size: Annotated[int, Bounds(1, 65_536)] = 32
    """Clips in a batch."""
    crop_seconds: Seconds = 3.0
    """Length of a random crop."""
    progressive: list[Annotated[float, Bounds(0.05, 1)]] | None = None
    """Shares of crop length and of bins, as [0.5, 1], each for an equal part of the epochs; by default all of both."""
    seed: NonNegativeInt = 0
    """Seed of weights, crops and mixing; each fold draws its own from it."""
    seeds: PositiveInt = 1
    """Networks a fold, of `seed` and those that follow; their scores of windows become one by `prediction.blend`.
    Runs to compare or to blend take seeds as far apart, else they share networks."""
    metric: Literal["lwlrap", "map", "accuracy", "f1_micro", "f1_macro", "last"] = "last"
    """last keeps the last epoch; a score of the held-out fold keeps the epoch that is best by it, and is too high then.
    """
    validate_every: PositiveInt = 1
    """Epochs from one validation of the held-out fold to the next; the last epoch is always validated."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """The optimizer; weight decay is decoupled in adamw only, and excludes biases and normalisation layers in all."""
    max_lr: Annotated[float, Bounds(1e-8, 100)] | list[Annotated[float, Bounds(1e-8, 100)]] | str = 3e-3
    """Highest learning rate; of a slice, as 1e-4..1e-2, the first layers have the lower and the head the higher; of a
    list, as [1e-4, 3e-4, 1e-2], both halves of the trunk and the head have one each."""
    stages: list[tuple[PositiveInt, float | str]] | None = None
    """Stages of training, as [[5, 1e-2], [10, 1e-3]]: for so many epochs the schedule runs once, up to a rate or slice
    of its own, instead of `max_lr`; their epochs add up to `epochs`."""
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"] = "one_cycle"
    """Learning rate by the step (one_cycle is constant below ten steps); plateau divides it by ten without progress."""
    warmup: Fraction = 0.3
    """Share of the steps in which the rate rises, for one_cycle and cosine."""
    patience: PositiveInt = 5
    """Validations in a row without a better `metric` (lwlrap where that is last) after which plateau lowers the rate.
    """
    momentum: Annotated[float, Bounds(0, 0.9999)] = 0.9
    """Momentum of sgd, first beta of adam and adamw; one_cycle moves it between 0.85 and 0.95 instead, but for 0."""
    weight_decay: Annotated[float, Bounds(0, 10)] = 0.01
    """Weight decay."""
    clip_gradient: Annotated[float, Bounds(0)] = 5.0
    """Longest gradient, as a norm over all weights; 0 does not clip."""
    ema_decay: Annotated[float, Bounds(0, 0.99999)] = 0.0
    """Decay a step of the moving average of weights, which is then what is scored and kept; 0 is none."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Arithmetic of the network; auto is bfloat16 on a GPU that has it, float16 on a V100 or T4, float32 elsewhere."""
    frame_storage: Literal["auto", "memory", "file"] = "auto"
    """Frames in memory, or read from the file in extents; auto takes memory where they fit."""
    shuffle_buffer_mb: Annotated[float, Bounds(0.001, 1e6)] = 256.0
    """Crops from extents in random order that are shuffled together, where frames are read from the file; two such
    buffers are held in memory."""
    compile: bool = False
    """Compile the network with torch.compile: slow first steps, faster later ones."""
    start_from: str | None = None
    """Fine-tune from the weights of another run: its folder (fold k from its fold k, and its seeds in turn),
    or one checkpoint of it."""
    freeze_epochs: NonNegativeInt | list[NonNegativeInt] = 0
    """Epochs in which only the head and the modulation units are trained; as many as `epochs` freezes the trunk. Of
    two, as [10, 3], the first half of the trunk is frozen for the one and the second half for the other."""
    freeze_batch_norm: bool = True
    """Batch normalisation of frozen layers is frozen too; without, it is trained and follows the new sounds."""

    loss: Literal["bce", "focal", "cross_entropy"] = "bce"
    """bce: each label by itself; focal: the same with a lower weight for easy ones; cross_entropy: one label a clip."""
    focal_gamma: Annotated[float, Bounds(0, 10)] = 2.0
    """Exponent of focal: the higher, the lower the weight of easy labels."""
    label_smoothing: Fraction = 0.0
    """Share of each target that is spread evenly: over yes and no, or over labels for cross_entropy."""
    noisy_weight: Annotated[float, Bounds(0, 10)] = 1.0
    """Weight of a noisy clip's loss beside a curated one's 1; 0 leaves noisy clips out."""
    bootstrap_beta: Fraction = 1.0
    """Share of a noisy clip's target that is its label; the rest is the network's own score (soft bootstrap)."""
    corrections: str | None = None
    """CSV `clip,labels` of better labels for training clips; the word drop for labels leaves a clip out."""
    teacher: str | None = None
    """Folder of another run, whose network of the same fold, trained without the held-out clips, scores noisy clips."""
    teacher_keep_threshold: Fraction = 0.2
    """A noisy clip keeps labels with at least this teacher score; a clip that keeps and gains none is left out."""
    teacher_add_threshold: Fraction = 0.8
    """A noisy clip gains labels with at least this teacher score."""

    # augmentation
    short_clip_padding: Literal["random_tile", "pad", "tile"] = "random_tile"
    """Clips shorter than a crop repeat from a random point, lie at random in silence, or repeat from their start."""
    variant_probability: Fraction = 0.5
    """How often an offline copy of a clip is drawn instead of the recording, where the store has copies."""
    min_overlap_s: Annotated[float, Bounds(0, 3600)] = 0.25
    """Of layout `annotations`: a crop or a window has the label of an event of which it has at least so many seconds,
    or all of a shorter event; 0 is any part. A crop or window within a longer event has its label."""
    event_free_rate: Annotated[float, Bounds(0, 100)] = 1.0
    """Of layout `annotations`: crops without any event drawn for each event; an epoch is a crop an event, and these."""
    noisy_rate: Annotated[float, Bounds(0, 100)] = 1.0
    """Noisy clips drawn for each curated one; an epoch is all curated clips and these."""
    noisy_share: Fraction = 1.0
    """Share of the epochs, the first ones, in which noisy clips are drawn; the last ones have curated clips alone."""
    balance: Fraction = 0.0
    """Clips of rare labels are drawn more often: 0 as they are, 1 each label alike, each clip by its rarest label."""
    label_mixing: Literal["union", "proportional"] = "union"
    """Labels of a sum of sounds (power_mix, crossfade): all those of its clips, or each in proportion to its share."""
    mixup_probability: Fraction = 0.0
    """Clips interpolated with another, labels in proportion."""
    mixup_alpha: Annotated[float, Bounds(0.05, 10)] = 1.0
    """The other's share is drawn from Beta(alpha, alpha); 1 is uniform."""
    mixup_max_share: Fraction = 0.5
    """Largest share of the other, by which the draw is multiplied."""
    power_mix_probability: Fraction = 0.0
    """Clips mixed with others by adding power."""
    power_mix_clips: Annotated[int, Bounds(2, 5)] = 3
    """Most clips in such a mixture; 2 to this many are equally likely."""
    power_mix_db: Annotated[float, Bounds(0, 60)] = 6.0
    """Largest attenuation of the others."""
    power_mix_levels: Literal["recorded", "equal"] = "recorded"
    """The others' levels before it: as they were recorded, or equal to the level of the clip they are added to."""
    crossfade_probability: Fraction = 0.0
    """Clips faded into another in time; the probabilities of the three ways of mixing add up to 1 at most."""
    crossfade_share: Fraction = 0.5
    """Longest fade, as a share of the crop."""
    frequency_splice_probability: Fraction = 0.0
    """Clips, or mixtures, with a band of bins of another, labels in proportion."""
    frequency_splice_share: Fraction = 0.5
    """Widest such band, as a share of the bins."""
    pitch_roll_probability: Fraction = 0.0
    """Clips moved up or down by whole bins."""
    pitch_roll_bins: PositiveInt = 3
    """Most bins by which they move."""
    resized_crop_probability: Fraction = 0.0
    """Clips of which a part is stretched to the whole crop, in time and in frequency."""
    resized_crop_scale: Annotated[float, Bounds(0.05, 1)] = 0.8
    """Smallest part, as a share of frames and of bins."""
    time_roll_probability: Fraction = 0.0
    """Crops rolled in time."""
    time_flip_probability: Fraction = 0.0
    """Crops played backwards."""
    silence_probability: Fraction = 0.0
    """Clips with a span of silence, before mixing."""
    silence_share: Fraction = 0.3
    """Longest span of silence, as a share of the crop."""
    gain_probability: Fraction = 0.0
    """Clips made louder or quieter, before mixing."""
    gain_db: Annotated[float, Bounds(0, 60)] = 6.0
    """Largest change of gain."""
    contrast_probability: Fraction = 0.0
    """Clips whose decibels are stretched or squeezed about their mean, before mixing."""
    contrast_slope: Annotated[float, Bounds(1, 10)] = 1.25
    """Most by which they are stretched; squeezed to its inverse at most."""
    filter_bands_probability: Fraction = 0.0
    """Clips with a random smooth gain over bins, before mixing (FilterAugment)."""
    filter_bands: Annotated[int, Bounds(2, 20)] = 5
    """Most bands between whose edges that gain runs in lines; 2 to this many are equally likely."""
    filter_bands_db: Annotated[float, Bounds(0, 60)] = 6.0
    """Largest gain at an edge."""
    noise_probability: Fraction = 0.0
    """Mixtures with white noise."""
    noise_snr_db: Annotated[tuple[float, float], Bounds(-40, 120)] = (10.0, 30.0)
    """Lowest and highest ratio of a mixture's mean power to the noise's."""
    time_mask_probability: Fraction = 0.0
    """Mixtures with spans of frames hidden (SpecAugment)."""
    time_mask_share: Fraction = 0.2
    """Longest hidden span, as a share of the crop."""
    frequency_mask_probability: Fraction = 0.0
    """Mixtures with spans of bins hidden (SpecAugment)."""
    frequency_mask_share: Fraction = 0.15
    """Widest hidden span, as a share of the bins."""
    max_masks: Annotated[int, Bounds(1, 20)] = 2
    """Most spans hidden in each direction."""
    mask_fill: Literal["mean", "floor", "zero"] = "mean"
    """Value in hidden spans: the crop's mean, its lowest value, or 0; in a waveform always 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.trunk_freeze_epochs, [self.group_lrs(stage) for stage, _ in enumerate(self.stage_starts)]
        mixing = ("mixup_probability", "power_mix_probability", "crossfade_probability")
        if (total := sum(getattr(self, key) for key in mixing)) > 1 + 1e-9:
            keys = " + ".join(f"training.{key}" for key in mixing)
            raise UserError(f"{keys} = {total:g}: a clip is mixed in one way at most, so together they are at most 1")
        low_db, high_db = self.noise_snr_db
        if low_db > high_db:
            raise UserError(f"training.noise_snr_db = [{low_db:g}, {high_db:g}]: the lower ratio comes first")

    @property
    def trunk_freeze_epochs(self) -> tuple[int, int]:
        """Epochs in which each half of the trunk is frozen. Raises UserError."""
        epochs = self.freeze_epochs if isinstance(self.freeze_epochs, list) else [self.freeze_epochs] * 2
        if len(epochs) != 2:
            raise UserError(f"training.freeze_epochs = {epochs}: one number, or one for each half of the trunk")
        return epochs[0], epochs[1]

    @property
    def stage_starts(self) -> list[int]:
        """The first epoch, from 0, of each of `stages`. Raises UserError."""
        lengths = [self.epochs] if self.stages is None else [n_epochs for n_epochs, _ in self.stages]
        if sum(lengths) != self.epochs or min(lengths) < 1:
            raise UserError(
                f"training.stages have {' + '.join(map(str, lengths)) or 'no'} epochs, and training.epochs = "
                f"{self.epochs}: each stage has one at least, and together they have as many"
            )
        return [0, *itertools.accumulate(lengths[:-1])]

    def group_lrs(self, stage: int = 0) -> list[float]:
        """The highest learning rates of both halves of the trunk and of the head, in a stage. Raises UserError."""
        if self.stages is None:
            return parse_group_lrs("training.max_lr", self.max_lr)
        return parse_group_lrs(f"training.stages[{stage}]", self.stages[stage][1])


def parse_group_lrs(key: str, value: float | str | list[float]) -> list[float]:
    """N_LR_GROUPS learning rates of a number, a slice (even in log) or a list. Raises UserError naming `key`."""
    low, _, high = str(value).partition("..")
    is_list = isinstance(value, list)
    try:
        rates = [float(rate) for rate in (value if isinstance(value, list) else (low, high or low))]
    except ValueError:
        raise UserError(f"{key} = {value!r}: write a number, a slice as 1e-4..1e-2, or a list of them") from None
    if is_list and len(rates) != N_LR_GROUPS:
        raise UserError(f"{key} = {value}: a list has {N_LR_GROUPS} rates, of both halves of the trunk and of the head")
    if not all(1e-8 <= rate <= 100 for rate in rates) or not (is_list or rates[0] <= rates[1]):
        raise UserError(f"{key} = {value}: must {'be' if is_list else 'rise'} within 1e-08 and 100")
    return rates if is_list else np.geomspace(rates[0], rates[-1], N_LR_GROUPS).tolist()
