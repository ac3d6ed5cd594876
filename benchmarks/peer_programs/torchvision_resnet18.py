"""SCRIPT A plain ResNet-18 from scratch on random crops of 128 frames, one-cycle: the notebook of 2019 in torch.

`benchmarks/peers.py` calls it. The last line it prints is the accuracy on the held-out fold.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from benchmarks.peer_programs.pictures import write_pictures

CROP_FRAMES, BATCH, MAX_LR = 128, 64, 1e-2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    table = write_pictures(options.data, options.pictures)
    classes = sorted(table["category"].unique())
    pictures = [torch.from_numpy(np.asarray(Image.open(path), np.float32) / 255) for path in table["picture"]]
    targets = torch.tensor([classes.index(label) for label in table["category"]])
    held_out = torch.from_numpy((table["fold"] == options.fold).to_numpy())
    network = resnet18(num_classes=len(classes))
    train(network, pictures, targets, (~held_out).nonzero().flatten(), options.epochs)
    rows = held_out.nonzero().flatten().tolist()
    right = [int(score(network, pictures[row]).argmax()) == int(targets[row]) for row in rows]
    print(sum(right) / len(right))


def train(network: torch.nn.Module, pictures: list[Tensor], targets: Tensor, rows: Tensor, epochs: int) -> None:
    """Train the network."""
    optimizer, n_steps = torch.optim.AdamW(network.parameters(), weight_decay=0.01), -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, epochs * n_steps)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            x = torch.stack([draw_crop(pictures[row]) for row in batch.tolist()])
            loss = cross_entropy(network.train()(as_image(x)), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def draw_crop(picture: Tensor) -> Tensor:
    start = int(torch.randint(max(picture.shape[1] - CROP_FRAMES, 0) + 1, ()))
    crop = picture[:, start : start + CROP_FRAMES]
    crop = torch.nn.functional.pad(crop, (0, CROP_FRAMES - crop.shape[1]))
    return crop.flip(1) if torch.rand(()) < 0.5 else crop


def as_image(x: Tensor) -> Tensor:
    """[n, 128, n_frames] → [n, 3, 128, n_frames]"""
    return ((x - 0.45) / 0.225)[:, None].expand(-1, 3, -1, -1)


@torch.inference_mode()
def score(network: torch.nn.Module, picture: Tensor) -> Tensor:
    """The mean of the scores of crops that overlap by half [n_classes]."""
    starts = range(0, max(picture.shape[1] - CROP_FRAMES, 0) + 1, CROP_FRAMES // 2)
    crops = torch.stack([picture[:, start : start + CROP_FRAMES] for start in starts])
    scores: Tensor = network.eval()(as_image(crops)).softmax(1).mean(0)
    return scores


if __name__ == "__main__":
    main()
