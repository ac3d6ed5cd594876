"""Weights of a run in torchvision's format are taken as a file of its own would be."""

from pathlib import Path

import pytest
import torch

from benchmarks import made_weights
from core.errors import UserError
from recipe import Network, Recipe, as_dict
from train.networks.factory import build_network_from_recipe
from train.runs.checkpoint import Checkpoint, save_checkpoint


def save_run(folder: Path, name: str = "resnet18", **keys: str) -> dict[str, torch.Tensor]:
    """A run of one network that nobody trained; its weights."""
    torch.manual_seed(0)
    recipe = Recipe(network=Network(name=name, **keys))  # type: ignore[arg-type]
    weights = build_network_from_recipe(recipe, 64, 3).state_dict()
    checkpoint = Checkpoint(weights, as_dict(recipe), ["a", "b", "c"], 64, 64.0, fold=0, seed=0, epoch=1, score=0.0)
    save_checkpoint(folder / "fold0" / "best.pt", checkpoint)
    return weights


def test_a_network_starts_from_the_weights_of_a_run(tmp_path: Path) -> None:
    trained = save_run(tmp_path / "run", channels="copies")
    output = tmp_path / "made" / "resnet18.pth"
    made_weights.main(["--run", str(tmp_path / "run"), "--output", str(output)])
    torch.manual_seed(1)
    network = Network(name="resnet18", channels="copies", weights=str(output))
    started = build_network_from_recipe(Recipe(network=network), 64, 5, pretrained=True).trunk.state_dict()
    assert started
    assert all(torch.equal(value, trained[f"trunk.{name}"]) for name, value in started.items())


def test_a_run_that_gives_no_such_weights_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path / "grey")
    save_run(tmp_path / "own", "cnn_small", channels="copies")
    wanted = "with network.channels copies"
    for run, message in (("grey", wanted), ("own", wanted), ("none", "holds no networks")):
        with pytest.raises(UserError, match=message):
            made_weights.main(["--run", str(tmp_path / run), "--output", str(tmp_path / "weights.pth")])
    assert not (tmp_path / "weights.pth").exists()
