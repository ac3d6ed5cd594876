"""Learning rates by the step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recipe import Training
from train.loop.schedule import Schedule, build_schedule


def rates_of(training: Training, n_steps: int, groups: tuple[float, ...] = (1.0,)) -> list[list[float]]:
    """The rates of each step, a list a group."""
    optimizer, schedule = start(training, n_steps, groups)
    rates = []
    for _ in range(n_steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return [list(column) for column in zip(*rates, strict=True)]


def start(training: Training, n_steps: int, groups: tuple[float, ...]) -> tuple[torch.optim.Optimizer, Schedule]:
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
    rates = []
    for score in (0.5, 0.6, 0.6, 0.55, 0.6, 0.7):
        schedule.step_epoch(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize(("patience", "expected"), [(1, [1, 1, 0.1, 0.1, 0.01]), (3, [1, 1, 1, 1, 0.1])])
def test_plateau_waits_for_as_many_epochs_as_it_is_told(patience: int, expected: list[float]) -> None:
    optimizer, schedule = start(Training(schedule="plateau", patience=patience), 100, (1.0,))
    rates = []
    for score in (0.5, 0.50001, 0.5, 0.500011, 0.5) if patience == 1 else (0.5, 0.50001, 0.5, 0.5, 0.5):
        schedule.step_epoch(score)
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

    def go_on(optimizer: torch.optim.Optimizer, schedule: Schedule, epochs: int) -> list[float]:
        rates = []
        for _ in range(epochs):
            for _ in range(3):
                optimizer.step()
                schedule.step()
                rates.append(optimizer.param_groups[0]["lr"])
            schedule.step_epoch(0.5)
        return rates

    undisturbed = go_on(*start(training, 30, (1.0,)), 10)
    optimizer, schedule = start(training, 30, (1.0,))
    go_on(optimizer, schedule, 4)
    kept = optimizer.state_dict(), schedule.state_dict()
    optimizer, schedule = start(training, 30, (1.0,))
    optimizer.load_state_dict(kept[0])
    schedule.load_state_dict(kept[1])
    assert go_on(optimizer, schedule, 6) == undisturbed[12:]
