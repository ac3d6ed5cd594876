"""The comparison with other systems: the program that needs no other package runs on ESC-50's folder."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import peers
from core.errors import UserError
from tests.benchmarks.test_negatives import write_esc50


def test_a_plain_resnet18_learns_from_pictures_of_clips(tmp_path: Path) -> None:
    options = peers.read_options(["--data", str(write_esc50(tmp_path)), "--epochs", "1"])
    accuracy = peers.run_program("torchvision_resnet18", Path(sys.executable), options, tmp_path, fold=2, epochs=1)
    assert accuracy * 6 == pytest.approx(round(accuracy * 6)) and 0 <= accuracy <= 1, "of the six clips of fold 2"
    pictures = [np.asarray(Image.open(path)) for path in (tmp_path / "pictures").iterdir()]
    assert len(pictures) == 12
    assert all(picture.shape == (128, 128) and np.ptp(picture) == 255 for picture in pictures), "2 s at least"


def test_a_peer_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="peers"):
        peers.main(["--data", str(tmp_path), "--cache", str(tmp_path), "--peers", "nobody"])
    assert not list(tmp_path.iterdir())
