"""Layer groups step at their own rates, rates follow the schedule, and the moving average follows its formula."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from recipe import Recipe, Training
from train.loop.optimizer import build_optimizer, build_schedule, create_ema_model, start_stage
from train.networks.factory import AudioNetwork, build_network_from_recipe


@pytest.fixture
def network() -> AudioNetwork:
    torch.manual_seed(0)
    return build_network_from_recipe(Recipe(), 8, 3)


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


def test_a_list_of_rates_has_one_for_each_group(network: AudioNetwork) -> None:
    optimizer = build_optimizer(network, Training(max_lr=[1e-3, 3e-4, 1e-2]))
    rates = [group["lr"] for group in optimizer.param_groups]
    assert [rates[2 * number] for number in range(3)] == [1e-3, 3e-4, 1e-2]
    assert rates[::2] == rates[1::2], "with weight decay and without"


def test_each_stage_rises_to_its_own_rates_and_falls_again(network: AudioNetwork) -> None:
    stages: list[tuple[int, float | str]] = [(2, 1e-2), (3, "1e-4..1e-2")]
    training = Training(epochs=5, stages=stages, warmup=0.25)
    assert training.stage_starts == [0, 2]
    optimizer = build_optimizer(network, training)
    for stage, (n_epochs, _) in enumerate(stages):
        schedule, n_steps = start_stage(optimizer, training, stage, 20 * n_epochs), 20 * n_epochs
        rates = []
        for _ in range(n_steps):
            rates.append([group["lr"] for group in optimizer.param_groups[::2]])
            optimizer.step()
            schedule.step()
        assert rates[n_steps // 4 - 1] == pytest.approx(training.group_lrs(stage))
        assert rates[0] == pytest.approx([rate / 25 for rate in training.group_lrs(stage)])
        assert max(rates[-1]) < 1e-6


def test_one_rate_is_everyones(network: AudioNetwork) -> None:
    optimizer = build_optimizer(network, Training(max_lr=2e-3))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2e-3] * len(optimizer.param_groups))


def rates_of(training: Training, n_steps: int, groups: tuple[float, ...] = (1.0,)) -> list[list[float]]:
    """The rates of each step, a list a group."""
    optimizer, schedule = start(training, n_steps, groups)
    rates = []
    for _ in range(n_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if not isinstance(schedule, ReduceLROnPlateau):
            schedule.step()
    return [list(column) for column in zip(*rates, strict=True)]


def start(training: Training, n_steps: int, groups: tuple[float, ...]) -> tuple[Optimizer, LRScheduler]:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in groups]
    optimizer = torch.optim.AdamW(parameters, betas=(training.momentum, 0.999))
    return optimizer, build_schedule(optimizer, training, n_steps)


def test_one_cycle_rises_to_each_groups_rate_at_the_end_of_the_warm_up_and_falls_to_nothing() -> None:
    slow, fast = rates_of(Training(warmup=0.25), 100, (0.1, 1.0))
    assert max(fast) == pytest.approx(1.0)
    assert fast.index(max(fast)) == 24
    assert fast[0] == pytest.approx(1 / 25)
    assert fast[-1] < 1e-5
    assert slow == pytest.approx([rate / 10 for rate in fast])


def test_cosine_rises_straight_and_falls_as_half_a_cosine() -> None:
    (rates,) = rates_of(Training(schedule="cosine", warmup=0.2), 50)
    expected = [
        (step + 1) / 10 if step < 10 else 0.5 + 0.5 * math.cos(math.pi * (step - 10) / 40) for step in range(50)
    ]
    assert rates == pytest.approx(expected)


def test_a_constant_rate_stays() -> None:
    assert rates_of(Training(schedule="constant"), 5) == [[1.0] * 5]


def test_plateau_lowers_the_rate_after_epochs_without_a_better_score() -> None:
    optimizer, schedule = start(Training(schedule="plateau", patience=2), 100, (1.0,))
    assert isinstance(schedule, ReduceLROnPlateau)
    rates = []
    for score in (0.5, 0.6, 0.6, 0.55, 0.6, 0.7):
        schedule.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(("patience", "expected"), [(1, [1, 1, 0.1, 0.1, 0.01]), (3, [1, 1, 1, 1, 0.1])])
def test_plateau_waits_for_as_many_epochs_as_it_is_told(patience: int, expected: list[float]) -> None:
    optimizer, schedule = start(Training(schedule="plateau", patience=patience), 100, (1.0,))
    assert isinstance(schedule, ReduceLROnPlateau)
    rates = []
    for score in (0.5, 0.50001, 0.5, 0.500011, 0.5) if patience == 1 else (0.5, 0.50001, 0.5, 0.5, 0.5):
        schedule.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx(expected)


@given(
    st.sampled_from(["one_cycle", "cosine", "plateau", "constant"]),
    st.integers(1, 40),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.9]),
)
def test_no_number_of_steps_or_warm_up_breaks_a_schedule(
    name: str, n_steps: int, warmup: float, momentum: float
) -> None:
    training = Training(schedule=name, warmup=warmup, momentum=momentum)  # type: ignore[arg-type]
    assert all(0 <= rate <= 1 + 1e-9 for rate in rates_of(training, n_steps)[0])


@pytest.mark.parametrize("name", ["one_cycle", "cosine", "plateau"])
def test_a_resumed_schedule_goes_on_as_it_would_have(name: str) -> None:
    training = Training(schedule=name, patience=1)  # type: ignore[arg-type]

    def go_on(optimizer: Optimizer, schedule: LRScheduler, epochs: int) -> list[float]:
        rates = []
        for _ in range(epochs):
            for _ in range(3):
                optimizer.step()
                if not isinstance(schedule, ReduceLROnPlateau):
                    schedule.step()
                rates.append(optimizer.param_groups[0]["lr"])
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(0.5)
        return rates

    undisturbed = go_on(*start(training, 30, (1.0,)), 10)
    optimizer, schedule = start(training, 30, (1.0,))
    go_on(optimizer, schedule, 4)
    kept = optimizer.state_dict(), schedule.state_dict()
    optimizer, schedule = start(training, 30, (1.0,))
    optimizer.load_state_dict(kept[0])
    schedule.load_state_dict(kept[1])
    assert go_on(optimizer, schedule, 6) == undisturbed[12:]


def test_the_average_is_the_formulas_for_weights_and_running_means() -> None:
    torch.manual_seed(0)
    network = build_network_from_recipe(Recipe(), 8, 3, -60.0, 12.0, pretrained=False)
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
