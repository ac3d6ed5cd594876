"""The coming step is prepared while the present one is used, in order, and errors arrive."""

import threading

import pytest
import torch

from train.ahead import one_step_ahead


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_every_step_comes_once_in_order(n_steps: int) -> None:
    steps = [int(tensor) for tensor in one_step_ahead(lambda step: torch.tensor(step), n_steps)]
    assert steps == list(range(n_steps))


def test_the_next_step_is_fetched_while_this_one_is_used_and_no_more() -> None:
    fetched: list[int] = []
    second = threading.Event()

    def fetch(step: int) -> torch.Tensor:
        fetched.append(step)
        if step == 1:
            second.set()
        return torch.tensor(step)

    steps = one_step_ahead(fetch, 4)
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

    steps = one_step_ahead(fetch, 3)
    assert int(next(steps)) == 0
    with pytest.raises(OSError, match="disk gone"):
        next(steps)


def test_it_is_prepared_on_one_core_and_the_others_keep_theirs() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        prepared = list(one_step_ahead(lambda step: torch.get_num_threads(), 3))
        assert prepared == [1, 1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
