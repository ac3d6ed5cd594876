"""The moving average follows the weights as its formula says."""

import torch

from recipe import Network
from train.loop.ema import create_ema_model
from train.networks.factory import build_network


def test_the_average_is_the_formulas_for_weights_and_running_means() -> None:
    torch.manual_seed(0)
    network = build_network(Network(), 8, 3, -60.0, 12.0, pretrained=False)
    ema = create_ema_model(network, 0.5)
    expected = {name: value.double().clone() for name, value in network.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        network.train()(torch.randn(4, 32, 8))
        ema.update_parameters(network)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            mixed = decay * expected[name] + (1 - decay) * value.double()
            expected[name] = mixed if value.is_floating_point() else value.double()
    for name, value in ema.module.state_dict().items():
        assert torch.allclose(value.double(), expected[name], atol=1e-5), name
    assert not ema.module.training
    assert not any(weight.requires_grad for weight in ema.parameters())
