"""SCRIPT make train: networks from the frames in memory, fold by fold. The loop stands here, in view."""

import itertools
import shutil
import time
from collections.abc import Sequence
from functools import partial

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor, nn
from tqdm import tqdm

from core.device import autocast_context, peak_memory_mb, pick_device, raise_compile_error
from core.entrypoint import exit_with_error, run_script
from core.errors import UserError, is_out_of_memory
from core.file_lock import file_lock
from core.paths import RunPaths
from recipe import as_dict
from recipe.cli import parse_command, resolve_n_jobs
from train.data.training_set import TrainingSet, load_training_set, parse_folds
from train.evaluate.metrics import METRICS, compute_metrics, describe_excluded
from train.evaluate.out_of_fold import report_folds
from train.evaluate.score_clips import score_clips
from train.loop.epoch_log import EpochLog, import_summary_writer
from train.loop.fold_job import FoldJob
from train.loop.losses import batch_loss, validation_loss
from train.loop.parallel_folds import count_parallel_jobs, train_in_parallel
from train.loop.preflight import check_jobs, check_resumable
from train.loop.relabel import describe_relabelling, relabel_noisy_clips
from train.loop.train_state import TrainState, create_train_state, seed_torch
from train.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.runs.run_folder import check_same_recipe, get_fold_dir, start_run

DIVERGENCE_ADVICE = (
    "lower training.max_lr (make lr suggests one), set training.clip_gradient to 1, or use training.precision float32"
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--folds", type=str, default="all", help="Folds to train: all, or numbers as 0,2.")
    parser.add_argument("--resume", action="store_true", help="Go on where the run was interrupted.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=int, default=1, help="Networks trained at once on a CPU; -1 is one a core.")
    parser.add_argument("--tensorboard", action="store_true", help="Log for TensorBoard as well.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Train the networks of a run, fold by fold.", add_options)
    recipe, run_paths, options = command.recipe, command.run_paths, command.options
    device = pick_device(options.device)
    if options.tensorboard:
        import_summary_writer()
    training_set = load_training_set(recipe, run_paths, device)
    folds = parse_folds(options.folds, training_set.fold_numbers())
    training_sets = {fold: relabel_noisy_clips(training_set, recipe, fold, device) for fold in folds}
    first_seed, run_dir = recipe.training.seed, run_paths.run_dir
    jobs = [
        FoldJob(recipe, training_sets[fold], fold, first_seed + seed, get_fold_dir(run_dir, recipe, fold, seed), device)
        for fold, seed in itertools.product(folds, range(recipe.training.seeds))
    ]
    n_parallel = count_parallel_jobs(resolve_n_jobs(options.jobs), jobs)
    check_jobs(jobs)
    with file_lock(run_paths.run_dir.parent / f".{run_paths.run}.lock", f"make train of run {run_paths.run}"):
        finished = False
        if options.resume:
            check_same_recipe(run_paths, recipe)
            finished = check_resumable(jobs)
        start_run(run_paths, recipe, finished=finished, folds=None if options.resume else training_set.fold_numbers())
        train_all(jobs, training_set, run_paths, options, n_parallel)


def train_all(
    jobs: Sequence[FoldJob], training_set: TrainingSet, run_paths: RunPaths, options: Namespace, n_parallel: int
) -> None:
    """Train the networks, one after the other or side by side, and report what they come to."""
    recipe, device = jobs[0].recipe, jobs[0].device
    training_sets = {job.fold: job.training_set for job in jobs}
    folds = list(training_sets)
    print(f"{len(training_set.frame_bank.clips)} clips, {len(training_set.labels)} labels, folds {folds} on {device}")
    for line in describe_excluded(training_set.targets, training_set.labels):
        print(line)
    if recipe.training.teacher:
        print(*(describe_relabelling(training_set, training_sets[fold], fold) for fold in folds), sep="\n")
    train = partial(train_fold, resume=options.resume, tensorboard=options.tensorboard, show_progress=n_parallel == 1)
    try:
        if n_parallel > 1:
            train_in_parallel(train, jobs, run_paths, n_parallel)
        else:
            for job in jobs:
                train(job)
        report_folds(run_paths, recipe, training_set, device)
    except KeyboardInterrupt:
        exit_with_error("interrupted; last.pt is as after the last whole epoch, and --resume goes on from it", 130)


def train_fold(job: FoldJob, *, resume: bool, tensorboard: bool, show_progress: bool) -> None:
    """Train one network to the recipe's last epoch; best.pt, last.pt and log.csv land in the job's output_dir."""
    training = job.recipe.training
    validation_rows = job.training_set.validation_rows(job.fold).tolist()
    train_state = create_train_state(job)
    if train_state.weights_origin:
        print(f"{job.output_dir.name} {train_state.weights_origin}", flush=True)
    last_checkpoint = job.output_dir / "last.pt"
    if resume and last_checkpoint.exists():
        train_state.load_resume_state(load_checkpoint(last_checkpoint))
    else:
        shutil.rmtree(job.output_dir, ignore_errors=True)
        # For an interrupt in the first epoch.
        save_checkpoint(last_checkpoint, make_checkpoint(job, train_state, {}, resumable=True))
    compiled_network: nn.Module = train_state.network
    if training.compile:
        compiled_network = torch.compile(train_state.network)  # type: ignore[assignment]
    epochs = range(train_state.epoch, training.epochs)
    disable_progress = None if show_progress else True  # None: where there is no terminal
    with (
        EpochLog(job.output_dir, train_state.epoch, tensorboard=tensorboard) as log,
        tqdm(
            epochs,
            job.output_dir.name,
            training.epochs,
            initial=train_state.epoch,
            unit="epoch",
            disable=disable_progress,
        ) as bar,
    ):
        for epoch in bar:
            try:
                row = train_epoch(job, train_state, compiled_network, epoch, disable_progress)
                row |= validate(job, train_state, validation_rows)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise UserError(job.describe_memory_advice()) from None
                raise_compile_error(error)
                raise
            save_epoch(job, train_state, row, log)
            if bar.disable:
                print(f"{job.output_dir.name} {format_epoch(row)}", flush=True)
            else:
                bar.set_postfix_str(f"loss {row['train_loss']:.4f}, lwlrap {row['lwlrap']:.4f}, map {row['map']:.4f}")


def train_epoch(
    job: FoldJob, train_state: TrainState, compiled_network: nn.Module, epoch: int, disable_progress: bool | None
) -> dict[str, float]:
    """One epoch, one optimizer step a batch; nothing is read back from the device before its end."""
    training, network, started = job.recipe.training, train_state.network, time.perf_counter()
    seed_torch(job.seed, job.fold, epoch + 1)
    network.train()
    network.freeze(epoch < training.freeze_epochs)
    batches = job.batches(epoch)
    losses, learning_rates = torch.zeros(len(batches), device=job.device), []
    for step, batch in enumerate(
        tqdm(batches, f"epoch {epoch + 1}", unit="step", leave=False, disable=disable_progress)
    ):
        with autocast_context(job.device, training.precision):
            loss = batch_loss(compiled_network(batch.x), batch.y, batch.noisy, training)
        loss.backward()
        if training.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_gradient)
        learning_rates.append(train_state.optimizer.param_groups[-1]["lr"])
        train_state.optimizer.step()
        train_state.optimizer.zero_grad()
        train_state.schedule.step()
        if train_state.ema:
            train_state.ema.update(network)
        losses[step] = loss.detach()
    train_loss = mean_loss(losses.cpu(), learning_rates, epoch)
    seconds = time.perf_counter() - started
    train_state.epoch = epoch + 1
    samples_per_s = len(batches) * training.batch_size / seconds
    return {
        "epoch": train_state.epoch,
        "train_loss": train_loss,
        "lr": learning_rates[-1],
        "train_s": seconds,
        "samples_per_s": samples_per_s,
    }


def mean_loss(losses: Tensor, learning_rates: Sequence[float], epoch: int) -> float:
    """The epoch's mean loss. Raises UserError with the step and its learning rate where one is not finite."""
    bad_steps = torch.nonzero(~losses.isfinite()).flatten().tolist()
    if bad_steps:
        raise UserError(
            f"the loss became {losses[bad_steps[0]]:g} in epoch {epoch + 1} at step {bad_steps[0] + 1} of "
            f"{len(losses)}, learning rate {learning_rates[bad_steps[0]]:.3g}: {DIVERGENCE_ADVICE}"
        )
    return float(losses.mean())


def format_epoch(row: dict[str, float]) -> str:
    """An epoch in a line."""
    scores = " ".join(f"{name} {row[name]:.4f}" for name in METRICS if name in row)
    return (
        f"epoch {row['epoch']:.0f} loss {row['train_loss']:.4f} held out {row['val_loss']:.4f} {scores} "
        f"lr {row['lr']:.2e} {row['samples_per_s']:.0f} clips/s"
    )


def validate(job: FoldJob, train_state: TrainState, validation_rows: list[int]) -> dict[str, float]:
    """Loss and every metric on the fold's curated clips, by the windows of prediction."""
    started = time.perf_counter()
    with autocast_context(job.device, job.recipe.training.precision):
        scores = score_clips(
            [train_state.eval_network], job.training_set.frame_bank, validation_rows, job.recipe.prediction
        )
    if not scores.isfinite().all():
        raise UserError(f"the network's scores became nan in epoch {train_state.epoch}: {DIVERGENCE_ADVICE}")
    truth = job.training_set.targets[validation_rows]
    loss = validation_loss(scores, truth, job.recipe.training.loss)
    return {"val_loss": loss} | compute_metrics(truth, scores) | {"val_s": time.perf_counter() - started}


def save_epoch(job: FoldJob, train_state: TrainState, row: dict[str, float], log: EpochLog) -> None:
    """Write best.pt if this epoch is the best, log.csv, then last.pt: killed in between, the epoch is done again."""
    metric = job.recipe.training.metric
    score = float(train_state.epoch) if metric == "last" else row[metric]
    train_state.schedule.step_epoch(row["lwlrap"] if metric == "last" else score)
    if score >= train_state.best_score:
        train_state.best_score = score
        save_checkpoint(job.output_dir / "best.pt", make_checkpoint(job, train_state, row, score=score))
    log.add(row | {"memory_mb": peak_memory_mb(job.device)})
    save_checkpoint(job.output_dir / "last.pt", make_checkpoint(job, train_state, row, score=score, resumable=True))


def make_checkpoint(
    job: FoldJob,
    train_state: TrainState,
    row: dict[str, float],
    *,
    score: float = float("-inf"),
    resumable: bool = False,
) -> Checkpoint:
    """The network as it is, with the figures of its epoch; `resumable` with all that training goes on from."""
    return Checkpoint(
        network=train_state.eval_network.state_dict(),
        recipe=as_dict(job.recipe),
        labels=job.training_set.labels,
        n_bins=job.training_set.frame_bank.n_bins,
        frames_per_second=job.training_set.frame_bank.frames_per_second,
        fold=job.fold,
        seed=job.seed,
        epoch=train_state.epoch,
        score=score,
        metrics=row,
        seen_clips=train_state.seen_clips,
        resume=train_state.state_dict() if resumable else None,
    )


if __name__ == "__main__":
    run_script(main)
