"""Networks by name take frames, have time steps and a head, learn in groups, and can be frozen."""

import re
from itertools import chain
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from core.errors import UserError
from recipe import Features, Network, Recipe, Training
from train.networks.factory import AudioNetwork, build_network_from_recipe

NAMES = get_args(get_type_hints(Network)["name"])
# vgg16_bn's classifier alone has 120 million weights: its forward pass is tried, its backward pass is alexnet's.
HEAVY = ("vgg16_bn", "resnet152")
WHOLE_WINDOW = ("alexnet", "vgg16_bn", "squeezenet1_1", "inception_v3")
"""Networks whose columns windows cannot share."""


def frames_for(name: str, n_frames: int = 64) -> Tensor:
    """A batch of two, small but large enough for the network."""
    if name == "inception_v3":
        n_frames += 32
    shape = (2, 16 * n_frames, 1) if name == "waveform" else (2, n_frames, 96 if name == "inception_v3" else 64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def build(name: str, n_labels: int = 5, **keys: object) -> AudioNetwork:
    torch.manual_seed(0)
    network = Network(name=name, **keys)  # type: ignore[arg-type]
    features = Features(kind="waveform", n_bins=1, storage="int16") if name == "waveform" else Features(n_bins=64)
    return build_network_from_recipe(Recipe(features=features, network=network), features.n_bins, n_labels)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_learns_and_its_head_on_its_time_steps_gives_its_logits(name: str) -> None:
    network, x = build(name), frames_for(name)
    if name not in HEAVY:
        network.train()(x).square().sum().backward()
        without = [key for key, weight in network.named_parameters() if weight.grad is None]
        assert without == []
    network.eval()
    with torch.inference_mode():
        time_steps, logits = network.time_steps(x), network(x)
        assert logits.shape == (2, 5)
        assert time_steps.ndim == 3
        assert torch.equal(network.head(time_steps), logits)
    assert network.dense == (name not in WHOLE_WINDOW)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("name", "keys"), [("cnn_small", {}), ("cnn_small", {"modulation_units": 4}), ("alexnet", {}), ("waveform", {})]
)
def test_short_types_end_before_the_head(name: str, keys: dict[str, Any], dtype: torch.dtype) -> None:
    """Logits as near each other as these are one number in bfloat16."""
    network, x = build(name, **keys).eval(), frames_for(name)
    many = x[:1] + torch.linspace(0, 0.05, 60)[:, None, None] * x[1:]
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        time_steps, logits = network.time_steps(many), network(many)
    assert logits.dtype == torch.float32
    assert time_steps.dtype == (torch.float32 if keys else dtype)
    with torch.inference_mode():
        torch.testing.assert_close(logits, network.head(time_steps.float()), rtol=1e-6, atol=1e-6)
    n_distinct = [len(column.unique()) for column in logits.T]
    assert min(n_distinct) > 2 * max(len(column.unique()) for column in logits.bfloat16().T)


@pytest.mark.cuda
def test_a_gpu_s_logits_are_the_cpu_s() -> None:
    network, x = build("resnet18").eval(), frames_for("resnet18")
    with torch.inference_mode():
        expected = network(x)
        torch.testing.assert_close(network.cuda()(x.cuda()).cpu(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["cnn_small", "resnet_small", "resnet18", "mobilenet_v3_small", "waveform"])
def test_a_dense_network_has_a_time_step_for_each_of_its_strides(name: str) -> None:
    network, x = build(name).eval(), frames_for(name)
    n_frames = 4 * network.time_stride
    with torch.inference_mode():
        # A waveform's first stride is four samples: fewer change nothing.
        for extra in (0, 4, network.time_stride - 1, network.time_stride):
            longer = x.repeat(1, 1 + (n_frames + extra) // x.shape[1], 1)[:, : n_frames + extra]
            assert network.time_steps(longer).shape[2] == 4 + (extra > 0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "alexnet"])
@pytest.mark.parametrize("channels", ["copies", "deltas"])
def test_three_channel_stems_take_copies_and_deltas(name: str, channels: str) -> None:
    network = build(name, channels=channels)
    stem = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert stem.in_channels == 3
    assert network(frames_for(name)).shape == (2, 5)


@pytest.mark.parametrize("pooling", ["mean", "mean_max", "attention"])
@pytest.mark.parametrize("hidden", [0, 7])
def test_heads_pool_any_number_of_time_steps(pooling: str, hidden: int) -> None:
    network = build("cnn_small", pooling=pooling, hidden=hidden).eval()
    assert sum(isinstance(layer, nn.Linear) for layer in network.head) == (2 if hidden else 1)
    for n_time_steps in (1, 9):
        assert network.head(torch.randn(3, 256, n_time_steps)).shape == (3, 5)


def test_pooling_is_what_it_says() -> None:
    time_steps = torch.randn(2, 256, 6)
    mean = build("cnn_small", pooling="mean").head[0]
    assert torch.allclose(mean(time_steps), time_steps.mean(2))
    both = build("cnn_small", pooling="mean_max").head[0]
    assert torch.allclose(both(time_steps), time_steps.mean(2) + time_steps.max(2).values)
    attention = build("cnn_small", pooling="attention").head[0]
    weigh = attention.state_dict()["weigh.weight"]
    weights = torch.softmax(torch.einsum("bct,oc->bot", time_steps, weigh[:, :, 0]), -1)
    assert torch.allclose(attention(time_steps), (time_steps * weights).sum(2), atol=1e-5)


@pytest.mark.parametrize("name", ["cnn_small", "alexnet", "vgg16_bn"])
def test_every_head_drops_out_what_it_is_told_to(name: str) -> None:
    dropped = [layer.p for layer in build(name, dropout=0.35, hidden=8).head if isinstance(layer, nn.Dropout)]
    assert dropped == [0.35, 0.35]


def test_layer_groups_hold_every_weight_once() -> None:
    for name in ("cnn_small", "resnet18", "waveform", "alexnet"):
        network = build(name)
        grouped = [weight for layers in network.layer_groups() for weight in layers.parameters()]
        assert len(network.layer_groups()) == 3
        assert len(grouped) == len(set(map(id, grouped))) == len(list(network.parameters()))


def test_a_frozen_trunk_neither_learns_nor_moves_its_running_means() -> None:
    network, x = build("cnn_small"), frames_for("cnn_small")
    network.train()
    network.freeze(True, True)
    network.train()
    before = {name: value.clone() for name, value in network.trunk.state_dict().items()}
    network(x).sum().backward()
    assert all(weight.grad is None for weight in network.trunk.parameters())
    assert all(weight.grad is not None for weight in network.head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.trunk.state_dict().items())
    network.freeze(False, False)
    network(x).sum().backward()
    assert all(weight.grad is not None for weight in network.trunk.parameters())
    assert not torch.equal(network.trunk.state_dict()["0.1.running_mean"], before["0.1.running_mean"])


def test_half_a_trunk_is_frozen_and_batch_norm_may_stay_free() -> None:
    network, x = build("resnet_small"), frames_for("resnet_small")
    first, second, _ = network.layer_groups()
    network.train()
    network.freeze(True, False, batch_norm=False)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    network.train()(x).sum().backward()
    assert all(weight.grad is not None for weight in second.parameters())
    for layer in chain.from_iterable(block.modules() for block in first.children()):
        is_norm = isinstance(layer, nn.BatchNorm2d)
        assert layer.training is is_norm
        assert all((weight.grad is not None) is is_norm for weight in layer.parameters(recurse=False))
    moved = {name for name, value in first.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all("running_" in name or "num_batches" in name for name in moved)


def test_scores_are_sigmoids_or_for_one_label_a_clip_shares_of_one() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    several = build_network_from_recipe(Recipe(features=Features(n_bins=64)), 64, 3)
    single = build_network_from_recipe(Recipe(training=Training(loss="cross_entropy")), 64, 3)
    assert torch.allclose(several.probabilities(logits), logits.sigmoid())
    assert torch.allclose(single.probabilities(logits), logits.softmax(1))


@pytest.mark.parametrize(
    ("features", "network", "key"),
    [
        (Features(), Network(name="waveform"), "features.kind"),
        (Features(kind="waveform", n_bins=1, storage="int16"), Network(name="resnet18"), "features.kind"),
        (Features(kind="waveform", n_bins=64, storage="int16"), Network(name="waveform"), "features.n_bins"),
        (Features(), Network(name="cnn_small", weights="imagenet"), "training.start_from"),
        (Features(), Network(name="resnet18", normalise="imagenet"), "network.channels"),
        (
            Features(kind="waveform", n_bins=1, storage="int16"),
            Network(name="waveform", channels="deltas"),
            "network.channels = deltas",
        ),
        (Features(), Network(name="alexnet", modulation_units=8), "network.modulation_units"),
        (
            Features(kind="waveform", n_bins=1, storage="int16"),
            Network(name="waveform", modulation_units=8),
            "network.modulation_units",
        ),
        (Features(kind="cqt_chroma", n_bins=12), Network(modulation_units=8), "network.modulation_units"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(features: Features, network: Network, key: str) -> None:
    with pytest.raises(UserError, match=re.escape(key)):
        build_network_from_recipe(Recipe(features=features, network=network), features.n_bins, 5)


@pytest.mark.parametrize("name", ["cnn_small", "resnet18"])
def test_modulation_units_stand_beside_the_trunk_and_learn_with_the_head(name: str) -> None:
    network, x = build(name, modulation_units=8), frames_for(name)
    bare = build(name)
    assert bare.dense and not network.dense, "they take a whole window, which windows cannot share"
    network.train()(x).square().sum().backward()
    assert not [key for key, weight in network.named_parameters() if weight.grad is None]
    grouped = [id(weight) for layers in network.layer_groups() for weight in layers.parameters()]
    assert sorted(grouped) == sorted(map(id, network.parameters()))
    network.eval()
    with torch.inference_mode():
        time_steps = network.time_steps(x)
        assert time_steps.shape[1] == bare.time_steps(x).shape[1] + 8
        assert torch.equal(network.head(time_steps), network(x))
        assert torch.equal(time_steps[:, -8:, 0], time_steps[:, -8:, -1])


def test_modulation_units_need_loudness() -> None:
    recipe = Recipe(features=Features(kind="cqt_chroma", n_bins=12), network=Network(modulation_units=8))
    with pytest.raises(UserError, match=r"network\.modulation_units"):
        build_network_from_recipe(recipe, 12, 5)


def test_the_small_network_is_small() -> None:
    assert sum(weight.numel() for weight in build("cnn_small").parameters()) < 1_000_000
