"""torchvision's weights, from a file or by name, land in one- and three-channel networks."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from core.errors import UserError
from recipe import Network, Recipe
from train.networks.factory import build_network_from_recipe
from train.networks.torchvision_trunks import build_torchvision_model, extract_trunk


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights as torchvision's downloads are."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(1)
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_a_one_channel_stem_sees_a_grey_picture_as_three_channels_did(weights: Path) -> None:
    grey = torch.randn(2, 1, 64, 64)
    three = extract_trunk(build_torchvision_model("resnet18", str(weights), 3)).eval()
    one = extract_trunk(build_torchvision_model("resnet18", str(weights), 1)).eval()
    assert torch.allclose(one(grey), three(grey.expand(-1, 3, -1, -1)), atol=1e-4)


def test_a_whole_network_starts_from_a_file(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(weights.parent))
    network = Network(name="resnet18", weights="~/resnet18.pth", channels="copies")
    built = build_network_from_recipe(Recipe(network=network), 64, 5, pretrained=True)
    stem = built.trunk.state_dict()["0.0.weight"]
    assert torch.equal(stem, torch.load(weights, weights_only=True)["conv1.weight"])


def test_safetensors_and_files_without_the_last_layer_are_read(weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    path = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file({key: value for key, value in state.items() if not key.startswith("fc.")}, path)
    loaded = build_torchvision_model("resnet18", str(path), 3).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("fc."))


def test_older_files_are_read(tmp_path: Path) -> None:
    """densenet's layers by the names they had, and no counts of batches."""
    torch.manual_seed(1)
    state = torchvision.models.densenet121().state_dict()
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value for key, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert len(old.keys() - state.keys()) > 100
    torch.save(old, tmp_path / "densenet121.pth")
    loaded = build_torchvision_model("densenet121", str(tmp_path / "densenet121.pth"), 3).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("classifier"))


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "inception_v3"])
def test_files_with_auxiliary_classifiers_or_convolutions_as_the_last_layer_are_read(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    auxiliary = {} if name == "squeezenet1_1" else {"aux_logits": True, "init_weights": False}
    published = torchvision.models.get_model(name, **auxiliary).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    trunk = extract_trunk(build_torchvision_model(name, str(tmp_path / "published.pth"), 3)).eval()
    picture, maps = torch.randn(1, 3, 96, 96), []
    pooled = published.classifier[0] if name == "squeezenet1_1" else published.avgpool
    pooled.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    with torch.inference_mode():
        published(picture)
        torch.testing.assert_close(trunk(picture), maps[0].mean(2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"not weights", "cannot be read as weights"),
        ({"other.weight": torch.zeros(1)}, "not the weights of resnet18"),
        ([torch.zeros(1)], "holds list, not tensors"),
    ],
)
def test_a_file_that_is_no_weights_is_named(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "some.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        build_torchvision_model("resnet18", str(path), 1)
    assert f"network.weights = {path}" in str(caught.value)


def test_weights_of_another_network_are_refused(weights: Path) -> None:
    with pytest.raises(UserError, match=r"not the weights of resnet34, whose layer1\.2\.conv1\.weight"):
        build_torchvision_model("resnet34", str(weights), 3)


def test_without_a_network_the_message_says_to_give_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"imagenet: https://.*resnet18.*cannot be downloaded.*give its path"):
        build_torchvision_model("resnet18", "imagenet", 1)
