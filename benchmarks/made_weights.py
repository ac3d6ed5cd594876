"""SCRIPT Weights in torchvision's format from a trained run: what stands in for ImageNet's where they cannot be had.

    python -m benchmarks.made_weights --run cache/irmas/runs/resnet50 --output made/resnet50.pth
    make train RECIPE=esc50_imagenet ARGS="--network.weights made/resnet50.pth"

The run is of a network of torchvision's with three channels, trained on any dataset: its first network is taken. The
file has all layers of torchvision's network; the last one is new, as it is not used.
"""

from core.entrypoint import run_script

from collections.abc import Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser

from core.errors import UserError
from core.files import atomic_write
from recipe.cli import parse_own_options
from train.networks.factory import SMALL_TRUNKS
from train.networks.torchvision_trunks import OWN_CLASSIFIER_NETWORKS, build_torchvision_model, extract_trunk
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint, parse_checkpoint_recipe
from train.runs.run_folder import find_best_checkpoints


def main(arguments: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description="Weights in torchvision's format from a run.", exit_on_error=False)
    parser.add_argument("--run", type=str, required=True, help="Folder of the run.")
    parser.add_argument("--output", type=str, required=True, help="File of weights to write.")
    options = parse_own_options(parser, arguments)
    name, path = convert(Path(options.run), Path(options.output))
    print(f"weights of {name} from {path}: {options.output}")


def convert(run_dir: Path, output: Path) -> tuple[str, Path]:
    """Write the trunk of a run's first network as torchvision's; its name, and the checkpoint it is of."""
    paths = find_best_checkpoints(run_dir)
    if not paths:
        raise UserError(f"--run {run_dir} holds no networks: run make train first")
    checkpoint = load_checkpoint(paths[0])
    network = parse_checkpoint_recipe(paths[0], checkpoint).network
    if network.channels == "one" or network.name in (*SMALL_TRUNKS, *OWN_CLASSIFIER_NETWORKS):
        raise UserError(
            f"--run {run_dir}: network.name = {network.name}, network.channels = {network.channels}: needs a network "
            "of torchvision's with network.channels copies, no alexnet or vgg16_bn"
        )
    model = build_torchvision_model(network.name, None, 3)
    extract_trunk(model).load_state_dict(build_network_from_checkpoint(paths[0], checkpoint).trunk.state_dict())
    with atomic_write(output) as temporary:
        torch.save(model.state_dict(), temporary)
    return network.name, paths[0]


if __name__ == "__main__":
    run_script(main)
