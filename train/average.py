"""A moving average of a network's weights, which scores better than the weights it follows."""

import copy

import torch

from train.networks import SoundNetwork


class MovingAverage:
    """`network` has, after each `update`, decay * itself + (1 - decay) * the weights given; running means likewise.

    After n updates the decay is at most (1 + n) / (10 + n), so that the start is soon forgotten.
    """

    def __init__(self, network: SoundNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: SoundNetwork) -> None:
        """Follow `network` by one step."""
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, latest = list(self.network.state_dict().values()), list(network.state_dict().values())
        floats = [index for index, tensor in enumerate(averages) if tensor.is_floating_point()]
        torch._foreach_lerp_([averages[index] for index in floats], [latest[index] for index in floats], share)
        for average, value in zip(averages, latest, strict=True):
            if not average.is_floating_point():
                average.copy_(value)
