"""Train states start fresh or from another run, and learn."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.errors import UserError
from recipe import Features, Network, Recipe, Training, as_dict
from train.loop.losses import batch_loss
from train.loop.optimizer import build_optimizer
from train.loop.train_state import load_pretrained_weights
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.runs.run_folder import find_fold_checkpoints


def make(seed: int, n_labels: int = 2, **network: Any) -> tuple[Recipe, AudioNetwork]:
    torch.manual_seed(seed)
    kind: Any = {"kind": "waveform", "storage": "int16"} if network.get("filterbank_bins") else {}
    recipe = Recipe(features=Features(n_bins=8, **kind), network=Network(**network))
    return recipe, build_network_from_recipe(recipe, 8, n_labels, -50.0 - seed, 10.0)


def save(path: Path, labels: list[str], **network: Any) -> AudioNetwork:
    recipe, other = make(1, len(labels), **network)
    save_checkpoint(path, Checkpoint(other.state_dict(), as_dict(recipe), labels, 8, 10.0, 0, 0, 1, 0.5))
    return other


def test_the_same_labels_take_trunk_and_head_and_keep_ones_own_statistics(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    other, (_, network) = save(path, ["a", "b"], modulation_units=4), make(2, modulation_units=4)
    origin = load_pretrained_weights(network, ["a", "b"], path, load_checkpoint(path))
    assert origin == f"starting from {path}"
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]) == (not name.startswith("frontend.mean")), name


def test_other_labels_take_the_trunk_and_a_new_head(tmp_path: Path) -> None:
    other, (_, network) = save(tmp_path / "best.pt", ["a", "b"]), make(2, 3)
    before = network.head.state_dict()["2.weight"].clone()
    path = tmp_path / "best.pt"
    assert "the head is new" in load_pretrained_weights(network, ["a", "b", "c"], path, load_checkpoint(path))
    assert torch.equal(network.head.state_dict()["2.weight"], before)
    assert torch.equal(network.trunk.state_dict()["0.0.weight"], other.trunk.state_dict()["0.0.weight"])


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ({"name": "mobilenet_v3_small"}, {}),
        ({"name": "resnet18"}, {"name": "resnet34"}),
        ({"name": "resnet34"}, {"name": "resnet18"}),
        ({}, {"pooling": "attention"}),
        ({}, {"modulation_units": 4}),
        ({"modulation_units": 4}, {}),
    ],
)
def test_another_build_is_refused(tmp_path: Path, other: dict[str, Any], ours: dict[str, Any]) -> None:
    path = tmp_path / "best.pt"
    save(path, ["a", "b"], **other)
    with pytest.raises(UserError, match=rf"training\.start_from.*{other.get('name', 'cnn_small')}.* is another build"):
        load_pretrained_weights(make(2, **ours)[1], ["a", "b"], path, load_checkpoint(path))


def test_modulation_units_may_be_put_beside_a_trunk_that_had_none(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    other, (_, network) = save(path, ["a", "b"]), make(2, 3, modulation_units=4)
    assert "the head is new" in load_pretrained_weights(network, ["a", "b", "c"], path, load_checkpoint(path))
    assert torch.equal(network.trunk.state_dict()["0.0.weight"], other.trunk.state_dict()["0.0.weight"])


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"]])
def test_a_trained_filterbank_comes_with_the_trunk_that_was_trained_on_it(tmp_path: Path, labels: list[str]) -> None:
    path = tmp_path / "best.pt"
    recipe, other = make(1, filterbank_bins=8)
    assert other.filterbank
    nn.init.normal_(other.filterbank.filters.weight)
    save_checkpoint(path, Checkpoint(other.state_dict(), as_dict(recipe), ["a", "b"], 8, 10.0, 0, 0, 1, 0.5))
    network = make(2, len(labels), filterbank_bins=8)[1]
    load_pretrained_weights(network, labels, path, load_checkpoint(path))
    assert network.filterbank
    assert torch.equal(network.filterbank.filters.weight, other.filterbank.filters.weight)
    assert float(network.filterbank.mean) == -52.0, "of its own recordings"


def test_a_run_gives_the_networks_of_the_same_fold_which_never_saw_its_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("fold1", "fold11", "fold2_seed0", "fold2_seed1"):
        save(tmp_path / name / "best.pt", ["a", "b"])
    for fold, names in ((1, ["fold1"]), (2, ["fold2_seed0", "fold2_seed1"])):
        found = find_fold_checkpoints("~", fold, "training.teacher")
        assert found == [tmp_path / name / "best.pt" for name in names]
    with pytest.raises(UserError, match=r"training\.teacher = .*: no best\.pt of fold 3 \(fold1, fold11"):
        find_fold_checkpoints(str(tmp_path), 3, "training.teacher")


@pytest.mark.parametrize("name", ["cnn_small", "waveform", "mobilenet_v3_small"])
@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_a_network_overfits_one_batch(name: str, loss: str) -> None:
    torch.manual_seed(0)
    training = Training(loss=loss, max_lr=3e-3)  # type: ignore[arg-type]
    n_frames, n_bins = (2048, 1) if name == "waveform" else (48, 32)
    features = Features(kind="waveform", storage="int16") if name == "waveform" else Features()
    recipe = Recipe(features=features, network=Network(name=name, dropout=0), training=training)  # type: ignore[arg-type]
    network = build_network_from_recipe(recipe, n_bins, 3)
    x, y = torch.randn(6, n_frames, n_bins), torch.eye(3).repeat(2, 1)
    optimizer, curated = build_optimizer(network, training), torch.zeros(6, dtype=torch.bool)
    first = last = batch_loss(network(x), y, curated, training).item()
    for _ in range(200):
        loss_now = batch_loss(network(x), y, curated, training)
        optimizer.zero_grad()
        loss_now.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        last = loss_now.item()
        if last < 0.02:
            break
    assert last < 0.02 < first
