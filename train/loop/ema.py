"""An exponential moving average of a network's weights and running means."""

from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from train.networks.factory import AudioNetwork


def create_ema_model(network: AudioNetwork, decay: float) -> AveragedModel:
    """A copy of `network` that `update_parameters` averages: decay * itself + (1 - decay) * the weights given.

    In update n the decay is at most (1 + n) / (10 + n), so that the weights of the beginning lose their share early.
    """

    def average(averaged: PARAM_LIST, current: PARAM_LIST, _: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            n = int(ema.n_averaged)  # on the CPU, so that the GPU need not be waited for
            get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, n)
        else:
            for counter, value in zip(averaged, current, strict=True):
                counter.copy_(value)

    ema = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    ema.n_averaged.fill_(1)  # the weights that it is a copy of
    return ema.eval().requires_grad_(False)
