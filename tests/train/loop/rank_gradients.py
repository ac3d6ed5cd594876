"""What each process of torchrun computes in two steps: torchrun -m tests.train.loop.rank_gradients CACHE."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from core.paths import RunPaths
from recipe import Features, Network, Prediction, Recipe, Training
from tests.train.factories import N_BINS
from train.data.training_set import load_training_set
from train.loop.distributed import Ranks, join_ranks
from train.loop.fold_job import FoldJob
from train.loop.losses import batch_loss
from train.loop.train_fold import prepare_network
from train.loop.train_state import create_train_state

RECIPE = Recipe(
    "recipe",
    features=Features(n_bins=N_BINS),
    network=Network(dropout=0.0),
    training=Training(
        batch_size=8, crop_seconds=1.6, epochs=2, freeze_epochs=1, mixup_probability=0.5, noise_probability=0.5
    ),
    prediction=Prediction(window_seconds=1.6, hop_seconds=0.8),
)


def make_job(cache: Path, ranks: Ranks) -> FoldJob:
    """The network of fold 0, for a process of `ranks`."""
    device = torch.device("cpu")
    training_set = load_training_set(RECIPE, RunPaths(cache, cache, "recipe", "recipe"), device, shared=True)
    return FoldJob(RECIPE, training_set, 0, 0, cache, device, ranks)


def compute_gradients(job: FoldJob) -> list[dict[str, Tensor]]:
    """The gradients of a step with a frozen trunk, and of one when it is unfrozen, by the names of the weights."""
    state, gradients = create_train_state(job), []
    for epoch in range(2):
        network = prepare_network(job, state, epoch)
        state.network.train()
        state.network.zero_grad()
        batch = next(iter(job.batches(epoch)))
        batch_loss(network(batch.x), batch.y, batch.noisy, job.recipe.training).backward()
        weights = state.network.named_parameters()
        gradients.append({name: weight.grad for name, weight in weights if weight.grad is not None})
    return gradients


if __name__ == "__main__":
    with join_ranks("cpu") as (ranks, _):
        job = make_job(Path(sys.argv[1]), ranks)
        torch.save(compute_gradients(job), job.output_dir / f"rank{ranks.rank}.pt")
