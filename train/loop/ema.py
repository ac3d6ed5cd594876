"""A moving average of a network's weights, which scores better than the weights it follows."""

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from train.networks.factory import AudioNetwork


class EmaModel:
    """`network` has, after each `update`, decay * itself + (1 - decay) * the weights given; running means likewise.

    After n updates the decay is at most (1 + n) / (10 + n), so that the start is soon forgotten.
    """

    def __init__(self, network: AudioNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: AudioNetwork) -> None:
        """Follow `network` by one step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        get_ema_multi_avg_fn(decay)(
            [averaged for averaged, _ in floats], [current for _, current in floats], self.updates
        )
        for averaged, current in pairs:
            if not averaged.is_floating_point():
                averaged.copy_(current)
