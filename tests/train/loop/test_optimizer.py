"""Layer groups step at their own rates; what has one dimension does not decay."""

import pytest
import torch

from recipe import Network, Training
from train.loop.optimizer import build_optimizer
from train.networks.factory import AudioNetwork, build_network


@pytest.fixture
def network() -> AudioNetwork:
    torch.manual_seed(0)
    return build_network(Network(), 8, 3, 0.0, 1.0, pretrained=False)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_every_weight_is_stepped_once_and_only_matrices_decay(network: AudioNetwork, name: str) -> None:
    optimizer = build_optimizer(network, Training(optimizer=name, weight_decay=0.1))  # type: ignore[arg-type]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len(weights) == len({id(weight) for weight in weights}) == len(list(network.parameters()))
    for group in optimizer.param_groups:
        assert all((weight.ndim > 1) == (group["weight_decay"] == 0.1) for weight in group["params"])


def test_a_slice_of_rates_rises_evenly_in_log_from_the_first_group_to_the_head(network: AudioNetwork) -> None:
    optimizer = build_optimizer(network, Training(max_lr="1e-4..1e-2"))
    rate_of = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    for layers, rate in zip(network.layer_groups(), (1e-4, 1e-3, 1e-2), strict=True):
        rates = [rate_of[id(weight)] for weight in layers.parameters()]
        assert rates == pytest.approx([rate] * len(rates))


def test_one_rate_is_everyones(network: AudioNetwork) -> None:
    optimizer = build_optimizer(network, Training(max_lr=2e-3))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2e-3] * len(optimizer.param_groups))
