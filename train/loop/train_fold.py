"""The training loop of one network."""

import math
import shutil
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from core.device import autocast_context, peak_memory_mb, raise_compile_error
from core.errors import UserError, is_out_of_memory
from recipe import Training, as_dict
from train.data.batches import Batch
from train.data.random_streams import seed_torch
from train.evaluate.held_out import count_scored, score_rows, scored_truth
from train.evaluate.metrics import compute_metrics
from train.evaluate.window_scorer import NonFiniteScores
from train.loop.epoch_log import EpochLog
from train.loop.fold_job import FoldJob
from train.loop.losses import batch_loss, validation_loss
from train.loop.optimizer import start_stage
from train.loop.train_state import TrainState, create_train_state
from train.networks.factory import AudioNetwork
from train.networks.weight_files import WeightFileError, check_finite
from train.runs.checkpoint import Checkpoint, list_versions, load_checkpoint, save_checkpoint

MIN_LOSS_SCALE = 2.0**-10
"""Of float16's loss, which begins at 2**16 and is halved after each step that is skipped."""
DIVERGENCE_ADVICE = (
    "lower training.max_lr (make lr suggests one), set training.clip_gradient to 1, or use training.precision float32"
)


def train_fold(job: FoldJob, *, resume: bool, tensorboard: bool) -> Iterator[dict[str, float]]:
    """Train one network to the recipe's last epoch, and write best.pt, last.pt and log.csv.

    Yields {"epoch": the number of epochs already trained}, then each epoch's row of the log, without scores where
    `training.validate_every` skips it.
    """
    training = job.recipe.training
    validation_rows = job.training_set.validation_rows(job.fold).tolist()
    train_state = create_train_state(job)
    if train_state.weights_origin:
        print(f"{job.output_dir.name} {train_state.weights_origin}", flush=True)
    last_checkpoint, first_rank = job.output_dir / "last.pt", job.ranks.is_first
    if resume and last_checkpoint.exists():
        checkpoint = load_checkpoint(last_checkpoint)
        begin_stage(job, train_state, max(checkpoint.epoch - 1, 0))
        train_state.load_resume_state(checkpoint)
    elif first_rank:
        shutil.rmtree(job.output_dir, ignore_errors=True)
        # --resume needs it after an interrupt in the first epoch.
        save_checkpoint(last_checkpoint, make_checkpoint(job, train_state, {}, resumable=True))
    first_epoch = train_state.epoch
    network: nn.Module = train_state.network
    yield {"epoch": first_epoch}
    with EpochLog(job.output_dir, first_epoch, tensorboard=tensorboard and first_rank) as log:
        for epoch in range(first_epoch, training.epochs):
            if epoch in (first_epoch, *training.trunk_freeze_epochs):
                network = prepare_network(job, train_state, epoch)
            if epoch in training.stage_starts[1:]:
                begin_stage(job, train_state, epoch)
            try:
                row = train_epoch(job, train_state, network, epoch)
                if train_state.epoch % training.validate_every == 0 or train_state.epoch == training.epochs:
                    row |= validate(job, train_state, validation_rows)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise UserError(job.describe_memory_advice()) from None
                raise_compile_error(error)
                raise
            save_epoch(job, train_state, row, log)
            yield row


def begin_stage(job: FoldJob, train_state: TrainState, epoch: int) -> None:
    """Give the train state the schedule and the rates of the stage of an epoch, from 0."""
    stage = bisect_right(job.recipe.training.stage_starts, epoch) - 1
    train_state.schedule = start_stage(train_state.optimizer, job.recipe.training, stage, job.stage_steps(stage))


def prepare_network(job: FoldJob, train_state: TrainState, epoch: int) -> nn.Module:
    """The network as it is trained from `epoch` on: frozen as `training.freeze_epochs` says, distributed over the
    ranks, compiled.
    """
    training = job.recipe.training
    frozen = (epoch < n_epochs for n_epochs in training.trunk_freeze_epochs)
    train_state.network.freeze(*frozen, batch_norm=training.freeze_batch_norm)
    network = job.ranks.distribute(train_state.network)
    return torch.compile(network) if training.compile else network  # type: ignore[return-value]


def train_epoch(job: FoldJob, train_state: TrainState, compiled_network: nn.Module, epoch: int) -> dict[str, float]:
    """Train one epoch, a step a batch; nothing is read back from the device before its end."""
    training, network, started = job.recipe.training, train_state.network, time.perf_counter()
    seed_torch("dropout", *job.random_keys(epoch))
    network.train()
    batches = job.batches(epoch)
    losses, learning_rates = torch.zeros(len(batches), device=job.device), []
    for step, batch in enumerate(batches):
        learning_rates.append(train_state.optimizer.param_groups[-1]["lr"])
        losses[step] = train_step(train_state, compiled_network, batch, training)
        if not isinstance(train_state.schedule, ReduceLROnPlateau):
            train_state.schedule.step()
        if train_state.ema:
            train_state.ema.update_parameters(network)
    train_loss = mean_loss(job.ranks.sum(losses, job.device).cpu() / job.ranks.n_ranks, learning_rates, epoch)
    if train_state.scaler.get_scale() < MIN_LOSS_SCALE:
        raise UserError(f"the gradients were not finite again and again in epoch {epoch + 1}: {DIVERGENCE_ADVICE}")
    seconds = time.perf_counter() - started
    train_state.epoch = epoch + 1
    return {
        "epoch": train_state.epoch,
        "train_loss": train_loss,
        "lr": learning_rates[-1],
        "train_s": seconds,
        "samples_per_s": len(batches) * training.batch_size / seconds,
    }


def train_step(train_state: TrainState, network: nn.Module, batch: Batch, training: Training) -> Tensor:
    """Take a step by `network`, the train state's own or one made of it; the loss, on the device.

    A GradScaler skips a step whose gradients are not finite, without a word to the host.
    """
    scaler, optimizer = train_state.scaler, train_state.optimizer
    torch.backends.cudnn.benchmark = True  # of crops of one size; prediction may have turned it off
    with autocast_context(batch.x.device, training.precision):
        loss = batch_loss(network(batch.x), batch.y, batch.noisy, training)
    scaler.scale(loss).backward()
    if training.clip_gradient:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(train_state.network.parameters(), training.clip_gradient)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return loss.detach()


def mean_loss(losses: Tensor, learning_rates: Sequence[float], epoch: int) -> float:
    """The epoch's mean loss. Raises UserError with the step and its learning rate where one is not finite."""
    finite = losses.isfinite()
    if not finite.all():
        step = int((~finite).nonzero()[0])
        raise UserError(
            f"the loss became {losses[step]:g} in epoch {epoch + 1} at step {step + 1} of {len(losses)}, learning rate "
            f"{learning_rates[step]:.3g}: {DIVERGENCE_ADVICE}"
        )
    return float(losses.mean())


def validate(job: FoldJob, train_state: TrainState, validation_rows: list[int]) -> dict[str, float]:
    """Loss and every metric on the fold's curated clips, by the windows of prediction; with labels in time, on these
    windows.
    """
    started = time.perf_counter()
    for network in (train_state.network, train_state.eval_network):
        job.ranks.copy_buffers_from_first(network)
    network = train_state.eval_network.eval()
    try:
        check_finite(network.state_dict())
        scores = score_in_ranks(job, network, validation_rows)
    except (NonFiniteScores, WeightFileError):
        raise UserError(f"the network's scores became nan in epoch {train_state.epoch}: {DIVERGENCE_ADVICE}") from None
    truth = scored_truth(job.training_set, validation_rows, job.recipe)
    loss = validation_loss(scores, truth, job.recipe.training.loss)
    return {"val_loss": loss} | compute_metrics(truth, scores) | {"val_s": time.perf_counter() - started}


def score_in_ranks(job: FoldJob, network: AudioNetwork, rows: list[int]) -> Tensor:
    """Scores of clips, or of their windows, [n_scored, n_labels] in each rank, each clip scored by one of them."""
    rank, n_ranks, training_set = job.ranks.rank, job.ranks.n_ranks, job.training_set
    n_scored = count_scored(training_set, rows, job.recipe)
    scores = [torch.zeros(n, len(training_set.labels)) for n in n_scored]
    if own_rows := rows[rank::n_ranks]:
        scores[rank::n_ranks] = score_rows([network], training_set, own_rows, job.recipe)
    return job.ranks.sum(torch.cat(scores), job.device)


def save_epoch(job: FoldJob, train_state: TrainState, row: dict[str, float], log: EpochLog) -> None:
    """Write best.pt if this epoch is the best, log.csv, then last.pt: after a kill in between, it is trained again.

    Only the first rank writes.
    """
    metric, is_validated = job.recipe.training.metric, "val_loss" in row
    score = float(train_state.epoch) if metric == "last" else row.get(metric, math.nan)
    if math.isnan(score):  # an epoch without validation, or a fold whose clips have no label for the metric
        score = -math.inf
    if isinstance(train_state.schedule, ReduceLROnPlateau) and is_validated:
        train_state.schedule.step(row["lwlrap"] if metric == "last" else score)
    is_best = score >= train_state.best_score
    train_state.best_score = max(score, train_state.best_score)
    if not job.ranks.is_first:
        return
    if is_best:
        save_checkpoint(job.output_dir / "best.pt", make_checkpoint(job, train_state, row, score=score))
    log.add(row | {"memory_mb": peak_memory_mb(job.device)})
    save_checkpoint(job.output_dir / "last.pt", make_checkpoint(job, train_state, row, score=score, resumable=True))


def make_checkpoint(
    job: FoldJob, train_state: TrainState, row: dict[str, float], *, score: float = -torch.inf, resumable: bool = False
) -> Checkpoint:
    """The network with its epoch's row of the log; `resumable` with the state that --resume needs."""
    frame_bank = job.training_set.frame_bank
    resume = {"n_steps": job.n_steps, "data_digest": job.training_data_digest}
    return Checkpoint(
        network=train_state.eval_network.state_dict(),
        recipe=as_dict(job.recipe),
        labels=job.training_set.labels,
        n_bins=frame_bank.n_bins,
        frames_per_second=frame_bank.frames_per_second,
        fold=job.fold,
        seed=job.seed,
        epoch=train_state.epoch,
        score=score,
        metrics=row,
        seen_clips=train_state.seen_clips,
        trained_frames=train_state.trained_frames,
        versions=list_versions(job.device),
        resume=train_state.state_dict() | resume if resumable else None,
    )
