"""What holds for every test of training."""

from pathlib import Path

import pytest

from tests.train.studies import write_study


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with a small data set, the last three of whose clips are noisy."""
    write_study(tmp_path, noisy=3)
    return tmp_path
