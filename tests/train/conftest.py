"""What holds for every test of training."""

from pathlib import Path

import pytest
import torch

from tests.train.studies import write_study


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tensors as small as these take ten times as long on two busy cores as on one: threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with a small data set, the last three of whose clips are noisy."""
    write_study(tmp_path, noisy=3)
    return tmp_path
