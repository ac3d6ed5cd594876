"""The benchmark of frames from the file takes turns, and refuses what fits in memory."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from benchmarks.larger_than_memory import main, take_turn, take_turns
from benchmarks.random_store import write_random_store
from core.errors import UserError
from recipe import Features, Recipe, Training


def test_a_store_that_fits_is_refused() -> None:
    with pytest.raises(UserError, match=r"--clips 3: their 0 MB do not pass --limit_mb; take more"):
        main(["--clips", "3"])


def test_a_process_takes_a_turn_for_each_number_of_steps(tmp_path: Path) -> None:
    recipe = Recipe(features=Features(n_bins=32), training=Training(batch_size=4, crop_seconds=0.6))
    names = write_random_store(tmp_path / "features.h5", recipe.features, 9)
    ours, theirs = multiprocessing.Pipe()
    arguments = (theirs, tmp_path / "features.h5", names, recipe, None)
    process = threading.Thread(target=take_turns, args=arguments, daemon=True)
    process.start()
    for turn in (take_turn(ours, 2), take_turn(ours, 5)):
        assert turn.crops_per_s > 4 * turn.steps_per_s > 0
        assert turn.cpu_s_per_step > 0
        assert turn.read_bytes >= 0
    ours.close()
    process.join(10)
    assert not process.is_alive()
