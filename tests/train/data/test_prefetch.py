"""The coming step is fetched while the present one is used, in order, and errors arrive."""

import threading

import pytest
import torch

from train.data.prefetch import prefetch

CPU = torch.device("cpu")


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_every_step_comes_once_in_order(n_steps: int) -> None:
    steps = [int(tensor) for tensor in prefetch(lambda step: torch.tensor(step), n_steps, CPU)]
    assert steps == list(range(n_steps))


def test_the_next_step_is_fetched_while_this_one_is_used_and_no_more() -> None:
    fetched: list[int] = []
    second = threading.Event()

    def fetch(step: int) -> torch.Tensor:
        fetched.append(step)
        if step == 1:
            second.set()
        return torch.tensor(step)

    steps = prefetch(fetch, 4, CPU)
    assert int(next(steps)) == 0
    assert second.wait(10), "step 1 is fetched without being asked for"
    assert fetched == [0, 1]
    steps.close()
    assert fetched == [0, 1]


def test_an_error_of_fetching_arrives_where_the_step_is_used() -> None:
    def fetch(step: int) -> torch.Tensor:
        if step == 1:
            raise OSError("disk gone")
        return torch.tensor(step)

    steps = prefetch(fetch, 3, CPU)
    assert int(next(steps)) == 0
    with pytest.raises(OSError, match="disk gone"):
        next(steps)
