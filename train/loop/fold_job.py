"""One network to train: of which fold and seed, from which batches, of what sizes."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import UserError, is_out_of_memory
from recipe import Recipe
from train.data.batches import Batches
from train.data.training_set import TrainingSet
from train.evaluate.windows import window_and_hop_frames
from train.loop.rng import seeded_generator
from train.networks.factory import AudioNetwork


@dataclass(frozen=True)
class FoldJob:
    """What does not change while a network learns."""

    recipe: Recipe
    training_set: TrainingSet
    fold: int
    """Whose clips it never sees."""
    seed: int
    output_dir: Path
    """Where its checkpoints and its log land."""
    device: torch.device

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.recipe.training.epochs * len(self.batches(0))

    def batches(self, epoch: int) -> Batches:
        """The batches of an epoch (from 0), from a generator that belongs to this seed, fold and epoch alone."""
        training, training_set = self.recipe.training, self.training_set
        rows = training_set.training_rows(self.fold, training)
        n_frames, n_bins = self.crop_shape(epoch)
        return Batches(
            training_set.frame_bank,
            rows.tolist(),
            training_set.targets[rows],
            training,
            seeded_generator(self.device, self.seed, self.fold, epoch + 1),
            noisy=training_set.noisy[rows],
            n_frames=n_frames,
            n_bins=n_bins,
        )

    def crop_shape(self, epoch: int) -> tuple[int, int]:
        """Frames and bins of an epoch's crops: all, or the progressive share whose turn it is, at last the last."""
        training, frame_bank = self.recipe.training, self.training_set.frame_bank
        resolutions = training.progressive or [1.0]
        resolution = resolutions[min(epoch * len(resolutions) // training.epochs, len(resolutions) - 1)]
        n_frames = round(resolution * training.crop_seconds * frame_bank.frames_per_second)
        return max(n_frames, 1), max(round(resolution * frame_bank.n_bins), 1)

    def check_input_shapes(self, network: AudioNetwork) -> None:
        """Raise UserError if the network cannot take what training or validation will give it."""
        frame_bank, network = self.training_set.frame_bank, network.eval()
        window = window_and_hop_frames(self.recipe.prediction, frame_bank.frames_per_second)[0]
        crops = {self.crop_shape(epoch) for epoch in range(self.recipe.training.epochs)}
        for n_frames, n_bins in sorted(crops | {(window, frame_bank.n_bins)}):
            try:
                with torch.inference_mode():
                    network(torch.zeros(1, n_frames, n_bins, device=self.device))
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise UserError(self.describe_memory_advice()) from None
                raise UserError(
                    f"network.name = {self.recipe.network.name} cannot take crops of {n_frames} frames by {n_bins} "
                    "bins: use longer crops and windows, more bins, or another network"
                ) from None

        if self.recipe.training.batch_size == 1:
            self._check_batch_of_one(network, min(crops))

    def _check_batch_of_one(self, network: AudioNetwork, size: tuple[int, int]) -> None:
        """Raise UserError if the network normalises over a batch and crops of `size` leave it a single value."""
        try:
            copy.deepcopy(network).train()(torch.zeros(1, *size, device=self.device))
        except ValueError:
            raise UserError(
                f"training.batch_size = 1: network.name = {self.recipe.network.name} normalises over a batch, which "
                "needs two clips or longer crops"
            ) from None

    def describe_memory_advice(self) -> str:
        """What to lower when the device's memory is full."""
        training = self.recipe.training
        return (
            f"{self.device} has too little memory for training.batch_size = {training.batch_size} crops of "
            f"training.crop_seconds = {training.crop_seconds:g}: try training.batch_size "
            f"{max(training.batch_size // 2, 1)}, then shorter crops or a smaller network"
        )
