"""A run's own files damaged anywhere: make train and make lr go on, train anew or end in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import UserError
from tests.predict.test_damaged_files import mutate
from tests.test_house import YAML_BOMB
from tests.train.factories import OPTIONS, files_of, fit, get_run_dir
from train import find_lr
from train.runs.checkpoint import load_checkpoint

N_MUTATIONS = 4


@pytest.mark.parametrize("name", ["recipe.yaml", "fold1/last.pt", "fold1/log.csv", "fold1/best.pt"])
def test_no_damaged_file_of_a_run_ends_in_a_traceback(cache: Path, name: str) -> None:
    one = ["--training.epochs", "1", "--folds", "1"]
    fit(cache, *one)
    path, random = get_run_dir(cache) / name, np.random.default_rng(len(name))
    content = path.read_bytes()
    for _ in range(N_MUTATIONS):
        path.write_bytes(mutate(content, random))
        for more in (["--resume"], []):
            try:
                fit(cache, *one, *more)
            except UserError as error:
                assert str(error) and "weights_only" not in str(error)
    load_checkpoint(get_run_dir(cache) / "fold1" / "best.pt")


@pytest.mark.parametrize("text", ["features: 3\n", "training:\n- 1\n", YAML_BOMB, "[" * 5_000, "training: {epochs: 2"])
def test_a_damaged_recipe_of_a_run_is_named_with_the_way_out(cache: Path, text: str) -> None:
    fit(cache, "--training.epochs", "1", "--folds", "0")
    path = get_run_dir(cache) / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"recipe\.yaml .*; remove the run's folder, or name another run with --run"):
        fit(cache, "--training.epochs", "1", "--folds", "0", "--resume")


@pytest.mark.parametrize("kind", ["tensor", "safetensors", "broken.safetensors", "folder", "text"])
@pytest.mark.parametrize("key", ["start_from", "network.weights"])
def test_what_is_no_start_is_one_line(cache: Path, key: str, kind: str) -> None:
    path = cache / f"start.{kind}"
    match kind:
        case "tensor":
            torch.save(torch.zeros(3), path)
        case "safetensors":
            save_file({"a": torch.full((2,), float("nan"))}, path)
        case "folder":
            path.mkdir()
        case _:
            path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}")
    options = ["--network.name", "resnet18", "--network.weights", str(path), "--training.crop_seconds", "4"]
    if key == "start_from":
        options = ["--training.start_from", str(path)]
    before = files_of(cache)
    for step in (lambda: fit(cache, *options), lambda: find_lr.main([*OPTIONS, "--cache", str(cache), *options])):
        with pytest.raises(UserError) as caught:
            step()
        assert path.name in str(caught.value)
        assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)
    assert files_of(cache) == before
