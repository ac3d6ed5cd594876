"""Learning rate over the steps of a training: one-cycle, cosine with warm-up, plateau, constant."""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from recipe import Training

MIN_ONE_CYCLE_STEPS = 10
"""Steps below which one_cycle keeps its rate."""


class Schedule:
    """Sets the rates of an optimizer's groups, each in proportion to its own highest."""

    def __init__(self, by_step: LRScheduler | None = None, by_epoch: ReduceLROnPlateau | None = None) -> None:
        self._by_step, self._by_epoch = by_step, by_epoch

    def step(self) -> None:
        """After each step of the optimizer."""
        if self._by_step:
            self._by_step.step()

    def step_epoch(self, score: float) -> None:
        """After each epoch, with the held-out clips' score."""
        if self._by_epoch:
            self._by_epoch.step(score)

    def state_dict(self) -> dict[str, Any]:
        scheduler = self._by_step or self._by_epoch
        return dict(scheduler.state_dict()) if scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if scheduler := self._by_step or self._by_epoch:
            scheduler.load_state_dict(state)


def build_schedule(optimizer: Optimizer, training: Training, n_steps: int) -> Schedule:
    """The schedule `training.schedule` names, over `n_steps` optimizer steps in all."""
    match training.schedule:
        case "one_cycle" if n_steps >= MIN_ONE_CYCLE_STEPS:
            rates = [group["lr"] for group in optimizer.param_groups]
            # OneCycleLR divides by zero where fewer than two steps rise, or none falls.
            n_rising = min(max(round(training.warmup * n_steps), 2), n_steps - 2)
            cycle_momentum = training.momentum > 0
            return Schedule(
                OneCycleLR(optimizer, rates, n_steps, pct_start=n_rising / n_steps, cycle_momentum=cycle_momentum)
            )
        case "cosine":
            return Schedule(LambdaLR(optimizer, cosine_with_warmup(round(training.warmup * n_steps), n_steps)))
        case "plateau":
            # PyTorch's patience is how many epochs without a rise it lets pass before the one at which it acts.
            patience = training.patience - 1
            return Schedule(by_epoch=ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=patience, threshold=0.0))
        case _:
            return Schedule()


def cosine_with_warmup(n_warmup: int, n_steps: int) -> Callable[[int], float]:
    """Factor of the highest rate at a step: a straight rise over `n_warmup` steps, then half a cosine down to zero."""

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return 0.5 + 0.5 * math.cos(math.pi * min((step - n_warmup) / max(n_steps - n_warmup, 1), 1))

    return factor
