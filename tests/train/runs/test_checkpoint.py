"""Checkpoints give back the network that was saved, whole or with a message."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import UserError
from recipe import Features, Network, Recipe, Training, as_dict
from tests.train.factories import assert_same
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.runs.checkpoint import (
    Checkpoint,
    build_network_from_checkpoint,
    load_checkpoint,
    parse_checkpoint_recipe,
    save_checkpoint,
)
from train.runs.seen_clips import hash_frames, hash_names


def make(**training: Any) -> tuple[AudioNetwork, Checkpoint]:
    torch.manual_seed(0)
    recipe = Recipe("small", features=Features(n_bins=8), network=Network(hidden=4), training=Training(**training))
    network = build_network_from_recipe(recipe, 8, 2, torch.full((8,), -60.0), 12.0)
    network(torch.randn(4, 20, 8))
    return network, Checkpoint(network.state_dict(), as_dict(recipe), ["a, b", "高い"], 8, 10.0, 1, 0, 5, 0.9)


def test_a_network_comes_back_with_its_weights_statistics_and_meaning(tmp_path: Path) -> None:
    network, checkpoint = make(loss="cross_entropy", short_clip_padding="pad")
    checkpoint = replace(
        checkpoint, seen_clips=hash_names(["a.wav", "b.wav"]), trained_frames=hash_frames(["a.wav"], ["1f"])
    )
    path = tmp_path / "fold1" / "best.pt"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    again, x = build_network_from_checkpoint(path, loaded), torch.randn(2, 20, 8) - 60
    assert not again.training
    assert torch.equal(again(x), network.eval()(x))
    assert (again.activation, again.short_clip_padding) == ("softmax", "pad")
    assert torch.equal(loaded.seen_clips, checkpoint.seen_clips)
    assert torch.equal(loaded.trained_frames, checkpoint.trained_frames)
    no_tensors: dict[str, Any] = {"network": {}, "seen_clips": None, "trained_frames": None}
    assert replace(loaded, **no_tensors) == replace(checkpoint, **no_tensors)


def test_pretrained_weights_are_not_looked_for_again(tmp_path: Path) -> None:
    recipe = Recipe(network=Network(name="resnet18", weights="no longer there.pth"), features=Features(n_bins=32))
    network = build_network_from_recipe(recipe, 32, 2)
    path = tmp_path / "a.pt"
    save_checkpoint(path, Checkpoint(network.state_dict(), as_dict(recipe), ["a", "b"], 32, 10.0, 0, 0, 1, 0.5))
    assert build_network_from_checkpoint(path, load_checkpoint(path)).time_stride == 32


def test_a_checkpoint_cut_anywhere_is_named_and_not_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", make()[1])
    content, path = (tmp_path / "whole.pt").read_bytes(), tmp_path / "cut.pt"
    for cut in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match=r"cut\.pt"):
            load_checkpoint(path)


def test_a_flipped_bit_never_gives_other_weights(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", make()[1])
    content, path, random = (tmp_path / "whole.pt").read_bytes(), tmp_path / "flipped.pt", np.random.default_rng(0)
    whole, n_refused = load_checkpoint(tmp_path / "whole.pt"), 0
    places = [*random.integers(len(content), size=100), *random.integers(len(content) - 400, len(content), size=100)]
    for place in map(int, places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = load_checkpoint(path)  # of a date or of padding between tensors
        except UserError as error:
            n_refused += 1
            assert "flipped.pt is no whole checkpoint" in str(error) and "weights_only" not in str(error)
        else:
            assert_same(vars(loaded), vars(whole))
    assert n_refused > 120


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": [1, 2]},
        {"labels": "ab"},
        {"network": []},
        {"network": {"trunk.0": 3}},
        {"n_bins": "many"},
        {"recipe": 5},
        {"network": {"head": torch.zeros(1).expand(10**12)}},
        {"network": {"head": torch.tensor([1.0, float("-inf")])}},
    ],
)
def test_values_of_another_kind_are_named(tmp_path: Path, changed: dict[str, Any]) -> None:
    torch.save(vars(make()[1]) | changed, tmp_path / "best.pt")
    with pytest.raises(UserError, match=rf"best\.pt is no whole checkpoint .*({next(iter(changed))}|tensors|head)"):
        load_checkpoint(tmp_path / "best.pt")


@pytest.mark.parametrize(
    "recipe", [{"name": 5}, {"name": "a", "network": 3}, {"name": "a", "features": {"n_bins": "x"}}]
)
def test_a_recipe_of_another_kind_is_named(tmp_path: Path, recipe: dict[str, Any]) -> None:
    checkpoint = replace(make()[1], recipe=recipe)
    with pytest.raises(UserError, match="was trained by another version's recipe"):
        build_network_from_checkpoint(tmp_path / "best.pt", checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "no whole checkpoint"),
        (torch.zeros(3), "no whole checkpoint"),
        (3, "no whole checkpoint"),
        ({"format": torch.zeros(2)}, "no whole checkpoint"),
        ({"format": 99}, "format 99"),
        (Path("code"), "no whole checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_named_and_never_run(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(tmp_path / "other.pt")
    assert "other.pt" in str(caught.value)


def test_a_missing_checkpoint_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run make train first"):
        load_checkpoint(tmp_path / "best.pt")


def test_keys_of_another_version_are_named() -> None:
    checkpoint = make()[1]
    checkpoint.recipe["network"]["wings"] = 2
    for use in (build_network_from_checkpoint, parse_checkpoint_recipe):
        with pytest.raises(UserError, match=r"fold0/best\.pt was trained by .*\(network\.wings: .*\): train it again"):
            use(Path("fold0/best.pt"), checkpoint)


def test_weights_of_another_version_are_named() -> None:
    checkpoint = make()[1]
    checkpoint.network["trunk.9.weight"] = torch.zeros(3)
    with pytest.raises(
        UserError, match=r"fold0/best\.pt holds the weights of another version's network \(.*trunk\.9"
    ) as caught:
        build_network_from_checkpoint(Path("fold0/best.pt"), checkpoint)
    assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, (_, checkpoint) = tmp_path / "last.pt", make()
    save_checkpoint(path, checkpoint)

    write = Path.write_bytes

    def fill_the_disk(path: Path, content: bytes) -> int:
        write(path, content[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space") as caught:
        save_checkpoint(path, replace(checkpoint, epoch=6))
    assert caught.value.filename == str(path)
    assert load_checkpoint(path).epoch == 5
    assert list(tmp_path.iterdir()) == [path]
