"""One network to train: of which fold and seed, from which batches, of what sizes."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import BadInput, is_want_of_memory
from recipe import Recipe
from train.data.batches import Batches
from train.data.training_set import Material
from train.evaluate.score_clips import window_frames
from train.loop.rng import seeded_generator
from train.networks.factory import SoundNetwork


@dataclass(frozen=True)
class Job:
    """What does not change while a network learns."""

    recipe: Recipe
    material: Material
    fold: int
    """Whose clips it never sees."""
    seed: int
    home: Path
    """Where its checkpoints and its log land."""
    device: torch.device

    @property
    def n_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.recipe.training.epochs * len(self.batches(0))

    def batches(self, epoch: int) -> Batches:
        """The batches of an epoch (from 0), from a generator that belongs to this seed, fold and epoch alone."""
        training, material = self.recipe.training, self.material
        rows = material.drawn(self.fold, training)
        n_frames, n_bins = self.sizes(epoch)
        return Batches(
            material.memory,
            rows.tolist(),
            material.targets[rows],
            training,
            seeded_generator(self.device, self.seed, self.fold, epoch + 1),
            noisy=material.noisy[rows],
            n_frames=n_frames,
            n_bins=n_bins,
        )

    def sizes(self, epoch: int) -> tuple[int, int]:
        """Frames and bins of an epoch's crops: all, or the progressive share whose turn it is, at last the last."""
        training, memory = self.recipe.training, self.material.memory
        shares = training.progressive or [1.0]
        share = shares[min(epoch * len(shares) // training.epochs, len(shares) - 1)]
        n_frames = round(share * training.crop_seconds * memory.frames_per_second)
        return max(n_frames, 1), max(round(share * memory.n_bins), 1)

    def check_sizes(self, network: SoundNetwork) -> None:
        """Raise BadInput if the network cannot take what training or validation will give it."""
        memory, network = self.material.memory, network.eval()
        window = window_frames(self.recipe.prediction, memory.frames_per_second)[0]
        crops = {self.sizes(epoch) for epoch in range(self.recipe.training.epochs)}
        for n_frames, n_bins in sorted(crops | {(window, memory.n_bins)}):
            try:
                with torch.inference_mode():
                    network(torch.zeros(1, n_frames, n_bins, device=self.device))
            except RuntimeError as error:
                if is_want_of_memory(error):
                    raise BadInput(self.advise_on_memory()) from None
                raise BadInput(
                    f"network.name = {self.recipe.network.name} cannot take crops of {n_frames} frames by {n_bins} "
                    "bins: use longer crops and windows, more bins, or another network"
                ) from None

        if self.recipe.training.batch_size == 1:
            self._check_single(network, min(crops))

    def _check_single(self, network: SoundNetwork, size: tuple[int, int]) -> None:
        """Raise BadInput if the network normalises over a batch and crops of `size` leave it a single value."""
        try:
            copy.deepcopy(network).train()(torch.zeros(1, *size, device=self.device))
        except ValueError:
            raise BadInput(
                f"training.batch_size = 1: network.name = {self.recipe.network.name} normalises over a batch, which "
                "needs two clips or longer crops"
            ) from None

    def advise_on_memory(self) -> str:
        """What to lower when the device's memory is full."""
        training = self.recipe.training
        return (
            f"{self.device} has too little memory for training.batch_size = {training.batch_size} crops of "
            f"training.crop_seconds = {training.crop_seconds:g}: try training.batch_size "
            f"{max(training.batch_size // 2, 1)}, then shorter crops or a smaller network"
        )
