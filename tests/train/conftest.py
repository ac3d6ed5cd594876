"""What holds for every test of training."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tensors as small as these take ten times as long on two busy cores as on one: threads wait for each other."""
    torch.set_num_threads(1)
