"""One network to train: its fold and seed, its batches and their sizes."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from core.errors import UserError, is_out_of_memory
from core.files import hash_files
from recipe import Recipe, Training
from train.data.batches import Batches
from train.data.events import EventCrops
from train.data.random_streams import seeded_generator
from train.data.training_set import TrainingSet
from train.data.white_noise import white_noise_power
from train.evaluate.windows import window_and_hop_frames
from train.loop.distributed import Ranks
from train.networks.factory import AudioNetwork
from train.runs.run_folder import find_fold_checkpoints
from train.runs.seen_clips import hash_frames

SHARED_PURPOSES = ("order", "white noise", "event-free")
"""Of random numbers that all ranks draw alike."""


@dataclass(frozen=True)
class FoldJob:
    """What stays the same while a network is trained."""

    recipe: Recipe
    training_set: TrainingSet
    fold: int
    """Its clips are held out."""
    seed: int
    output_dir: Path
    """Of the checkpoints and the log."""
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)
    """The processes that train it."""

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return sum(self._epoch_steps)

    def stage_steps(self, stage: int) -> int:
        """Optimizer steps of one of `training.stages`; without them, of the whole training."""
        starts = [*self.recipe.training.stage_starts, self.recipe.training.epochs]
        return sum(self._epoch_steps[starts[stage] : starts[stage + 1]])

    @cached_property
    def _epoch_steps(self) -> list[int]:
        rates = [self.training_in(epoch).noisy_rate for epoch in range(self.recipe.training.epochs)]
        n_steps = {rate: len(self.batches(rates.index(rate))) for rate in set(rates)}
        return [n_steps[rate] for rate in rates]

    def training_in(self, epoch: int) -> Training:
        """The recipe's training as it is in an epoch, from 0: without noisy clips in the last ones, and after them."""
        training = self.recipe.training
        without_noisy = min(epoch, training.epochs - 1) >= round(training.noisy_share * training.epochs)
        return replace(training, noisy_rate=0.0) if without_noisy else training

    @cached_property
    def training_data_digest(self) -> str:
        """Of what the network learns from: clips, targets, and other runs' networks. Raises UserError."""
        digest = self.training_set.training_data_digest(self.fold, self.recipe.training)
        return f"{digest} {hash_files(self.other_networks)}" if self.other_networks else digest

    @cached_property
    def other_networks(self) -> list[Path]:
        """Those that it may start from, and its teacher's. Raises UserError where such a network is gone."""
        training, networks = self.recipe.training, list[Path]()
        for key, run in (("start_from", training.start_from), ("teacher", training.teacher)):
            if run:
                networks += find_fold_checkpoints(run, self.fold, f"training.{key}")
        return networks

    @cached_property
    def trained_frames(self) -> torch.Tensor:
        """Hashes of the names and frames of the clips that train the network (train.runs.seen_clips)."""
        training_set = self.training_set
        rows = training_set.training_rows(self.fold, self.recipe.training).tolist()
        bank = training_set.frame_bank
        return hash_frames([bank.clips[row] for row in rows], [bank.digests[row] for row in rows])

    def batches(self, epoch: int) -> Batches:
        """This rank's share of the batches of an epoch (from 0), drawn by generators of this seed, fold and epoch.

        There is one a purpose. Those of SHARED_PURPOSES are the same in all ranks.
        """
        training, training_set = self.training_in(epoch), self.training_set
        rows = training_set.training_rows(self.fold, training)
        targets, noisy = training_set.targets[rows], training_set.noisy[rows]
        if event_crops := self.event_crops(epoch):
            rows, targets = event_crops.rows.numpy(), event_crops.targets
            noisy = torch.zeros(len(rows), dtype=torch.bool)
        n_frames, n_bins = self.crop_shape(epoch)
        noise_power = None
        if training.noise_probability:
            noise_power = white_noise_power(self.recipe.features, n_bins, self._make_generator("white noise", epoch))
        return Batches(
            training_set.frame_bank,
            rows.tolist(),
            targets,
            training,
            partial(self._make_generator, epoch=epoch),
            noisy=noisy,
            event_crops=event_crops,
            n_frames=n_frames,
            n_bins=n_bins,
            noise_power=noise_power,
            share=self.ranks.share(training.batch_size),
        )

    def event_crops(self, epoch: int) -> EventCrops | None:
        """Where the crops of an epoch lie, if labels are known in time. Raises UserError where no event is left."""
        training, training_set = self.training_in(epoch), self.training_set
        if not training_set.events:
            return None
        return EventCrops(
            training_set.events,
            training_set.frame_bank,
            training_set.training_rows(self.fold, training),
            self.crop_shape(epoch)[0],
            max(self.crop_shape(each)[0] for each in range(training.epochs)),
            training,
            self._make_generator("event-free", epoch),
        )

    def _make_generator(self, purpose: str, epoch: int) -> torch.Generator:
        keys = (self.seed, self.fold, epoch) if purpose in SHARED_PURPOSES else self.random_keys(epoch)
        return seeded_generator(self.device, purpose, *keys)

    def random_keys(self, epoch: int) -> tuple[int, ...]:
        """Keys of this rank's random numbers in an epoch; those of the first are the same without other ranks."""
        return (self.seed, self.fold, epoch, *([] if self.ranks.is_first else [self.ranks.rank]))

    def crop_shape(self, epoch: int) -> tuple[int, int]:
        """Frames and bins of an epoch's crops; each share of `training.progressive` holds for as many epochs."""
        training, frame_bank = self.recipe.training, self.training_set.frame_bank
        resolutions = training.progressive or [1.0]
        resolution = resolutions[min(epoch * len(resolutions) // training.epochs, len(resolutions) - 1)]
        n_frames = round(resolution * training.crop_seconds * frame_bank.frames_per_second)
        return max(n_frames, 1), max(round(resolution * frame_bank.n_bins), 1)

    def check_input_shapes(self, network: AudioNetwork) -> None:
        """Raise UserError if the network cannot take the crops of training or the windows of validation."""
        frame_bank, training, network = self.training_set.frame_bank, self.recipe.training, network.eval()
        network_key = f"network.name = {self.recipe.network.name}"
        window = window_and_hop_frames(self.recipe.prediction, frame_bank.frames_per_second)[0]
        crops = {self.crop_shape(epoch) for epoch in range(training.epochs)}
        for n_frames, n_bins in sorted(crops | {(window, frame_bank.n_bins)}):
            try:
                with torch.inference_mode():
                    network(torch.zeros(1, n_frames, n_bins, device=self.device))
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise UserError(self.describe_memory_advice()) from None
                raise UserError(
                    f"{network_key} cannot take crops of {n_frames} frames by {n_bins} bins: use longer crops and "
                    "windows, more bins, or another network"
                ) from None
        if training.batch_size == self.ranks.n_ranks:
            try:
                copy.deepcopy(network).train()(torch.zeros(1, *min(crops), device=self.device))
            except ValueError:
                raise UserError(
                    f"training.batch_size = {training.batch_size}: {network_key} normalises over a batch of each "
                    "process, which needs two clips or longer crops"
                ) from None

    def describe_memory_advice(self) -> str:
        """What to lower when the device's memory is full."""
        training = self.recipe.training
        return (
            f"{self.device} has too little memory for training.batch_size = {training.batch_size} crops of "
            f"training.crop_seconds = {training.crop_seconds:g}: try training.batch_size "
            f"{max(training.batch_size // 2, 1)}, then shorter crops or a smaller network"
        )
