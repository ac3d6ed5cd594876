"""What holds for every test of training."""

from pathlib import Path

import pytest

from tests.train.factories import write_training_dataset


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with a small data set, the last three of whose clips are noisy."""
    write_training_dataset(tmp_path, noisy=3)
    return tmp_path
