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

from core.device import arithmetic, blame_compiler, peak_memory_mb, pick_device
from core.entrypoint import run_script, stop
from core.errors import BadInput, is_want_of_memory
from core.file_lock import locked
from core.paths import Places
from recipe import as_dict
from recipe.cli import count_jobs, read_command
from train.data.training_set import Material, choose_folds, load_material
from train.evaluate.metrics import METRICS, describe_gaps, summarise
from train.evaluate.out_of_fold import report_folds
from train.evaluate.score_clips import score_clips
from train.loop.epoch_log import EpochLog, summary_writer
from train.loop.fold_job import Job
from train.loop.losses import batch_loss, held_out_loss
from train.loop.parallel_folds import count_at_once, train_at_once
from train.loop.preflight import check_jobs, check_resumable
from train.loop.relabel import describe_teaching, taught
from train.loop.train_state import Learner, seed_torch, start_learner
from train.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.runs.run_folder import begin_run, check_begun, fold_home

CALMER = (
    "lower training.max_lr (make lr suggests one), set training.clip_gradient to 1, or use training.precision float32"
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--folds", type=str, default="all", help="Folds to train: all, or numbers as 0,2.")
    parser.add_argument("--resume", action="store_true", help="Go on where the run was interrupted.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=int, default=1, help="Networks trained at once on a CPU; -1 is one a core.")
    parser.add_argument("--tensorboard", action="store_true", help="Log for TensorBoard as well.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Train the networks of a run, fold by fold.", add_options)
    recipe, places, options = command.recipe, command.places, command.options
    device = pick_device(options.device)
    if options.tensorboard:
        summary_writer()
    material = load_material(recipe, places, device)
    folds = choose_folds(options.folds, material.fold_names())
    materials = {fold: taught(material, recipe, fold, device) for fold in folds}
    first, home = recipe.training.seed, places.run_home
    jobs = [
        Job(recipe, materials[fold], fold, first + seed, fold_home(home, recipe, fold, seed), device)
        for fold, seed in itertools.product(folds, range(recipe.training.seeds))
    ]
    n_at_once = count_at_once(count_jobs(options.jobs), jobs)
    check_jobs(jobs)
    with locked(places.run_home.parent / f".{places.run}.lock", f"make train of run {places.run}"):
        finished = False
        if options.resume:
            check_begun(places, recipe)
            finished = check_resumable(jobs)
        begin_run(places, recipe, finished=finished, folds=None if options.resume else material.fold_names())
        train_all(jobs, material, places, options, n_at_once)


def train_all(jobs: Sequence[Job], material: Material, places: Places, options: Namespace, n_at_once: int) -> None:
    """Train the networks, one after the other or side by side, and report what they come to."""
    recipe, device = jobs[0].recipe, jobs[0].device
    materials = {job.fold: job.material for job in jobs}
    folds = list(materials)
    print(f"{len(material.memory.clips)} clips, {len(material.labels)} labels, folds {folds} on {device}")
    for line in describe_gaps(material.targets, material.labels):
        print(line)
    if recipe.training.teacher:
        print(*(describe_teaching(material, materials[fold], fold) for fold in folds), sep="\n")
    train = partial(train_fold, resume=options.resume, tensorboard=options.tensorboard, bars=n_at_once == 1)
    try:
        if n_at_once > 1:
            train_at_once(train, jobs, places, n_at_once)
        else:
            for job in jobs:
                train(job)
        report_folds(places, recipe, material, device)
    except KeyboardInterrupt:
        stop("interrupted; last.pt is as after the last whole epoch, and --resume goes on from it", 130)


def train_fold(job: Job, *, resume: bool, tensorboard: bool, bars: bool) -> None:
    """Train one network to the recipe's last epoch; best.pt, last.pt and log.csv land in the job's home."""
    training = job.recipe.training
    held_out = job.material.held_out(job.fold).tolist()
    learner = start_learner(job)
    if learner.origin:
        print(f"{job.home.name} {learner.origin}", flush=True)
    last = job.home / "last.pt"
    if resume and last.exists():
        learner.take_up(load_checkpoint(last))
    else:
        shutil.rmtree(job.home, ignore_errors=True)
        save_checkpoint(last, checkpoint_of(job, learner, {}, resumable=True))  # for an interrupt in the first epoch
    stepped: nn.Module = torch.compile(learner.network) if training.compile else learner.network  # type: ignore[assignment]
    epochs, hidden = range(learner.epoch, training.epochs), None if bars else True  # None: where there is no terminal
    with (
        EpochLog(job.home, learner.epoch, tensorboard=tensorboard) as log,
        tqdm(epochs, job.home.name, training.epochs, initial=learner.epoch, unit="epoch", disable=hidden) as bar,
    ):
        for epoch in bar:
            try:
                row = train_epoch(job, learner, stepped, epoch, hidden) | validate(job, learner, held_out)
            except RuntimeError as error:
                if is_want_of_memory(error):
                    raise BadInput(job.advise_on_memory()) from None
                blame_compiler(error)
                raise
            keep(job, learner, row, log)
            if bar.disable:
                print(f"{job.home.name} {describe(row)}", flush=True)
            else:
                bar.set_postfix_str(f"loss {row['train_loss']:.4f}, lwlrap {row['lwlrap']:.4f}, map {row['map']:.4f}")


def train_epoch(job: Job, learner: Learner, stepped: nn.Module, epoch: int, hidden: bool | None) -> dict[str, float]:
    """One epoch, one optimizer step a batch; nothing is read back from the device before its end."""
    training, network, started = job.recipe.training, learner.network, time.perf_counter()
    seed_torch(job.seed, job.fold, epoch + 1)
    network.train()
    network.freeze(epoch < training.freeze_epochs)
    batches = job.batches(epoch)
    losses, rates = torch.zeros(len(batches), device=job.device), []
    for step, batch in enumerate(tqdm(batches, f"epoch {epoch + 1}", unit="step", leave=False, disable=hidden)):
        with arithmetic(job.device, training.precision):
            loss = batch_loss(stepped(batch.x), batch.y, batch.noisy, training)
        loss.backward()
        if training.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_gradient)
        rates.append(learner.optimizer.param_groups[-1]["lr"])
        learner.optimizer.step()
        learner.optimizer.zero_grad()
        learner.schedule.step()
        if learner.average:
            learner.average.update(network)
        losses[step] = loss.detach()
    train_loss = mean_loss(losses.cpu(), rates, epoch)
    seconds = time.perf_counter() - started
    learner.epoch = epoch + 1
    samples_per_s = len(batches) * training.batch_size / seconds
    return {
        "epoch": learner.epoch,
        "train_loss": train_loss,
        "lr": rates[-1],
        "train_s": seconds,
        "samples_per_s": samples_per_s,
    }


def mean_loss(losses: Tensor, rates: Sequence[float], epoch: int) -> float:
    """The epoch's mean loss. Raises BadInput with the step and its learning rate where one is not finite."""
    wrong = torch.nonzero(~losses.isfinite()).flatten().tolist()
    if wrong:
        raise BadInput(
            f"the loss became {losses[wrong[0]]:g} in epoch {epoch + 1} at step {wrong[0] + 1} of {len(losses)}, "
            f"learning rate {rates[wrong[0]]:.3g}: {CALMER}"
        )
    return float(losses.mean())


def describe(row: dict[str, float]) -> str:
    """An epoch in a line."""
    scores = " ".join(f"{name} {row[name]:.4f}" for name in METRICS if name in row)
    return (
        f"epoch {row['epoch']:.0f} loss {row['train_loss']:.4f} held out {row['held_out_loss']:.4f} {scores} "
        f"lr {row['lr']:.2e} {row['samples_per_s']:.0f} clips/s"
    )


def validate(job: Job, learner: Learner, held_out: list[int]) -> dict[str, float]:
    """Loss and every metric on the fold's curated clips, by the windows of prediction."""
    started = time.perf_counter()
    with arithmetic(job.device, job.recipe.training.precision):
        scores = score_clips([learner.scored], job.material.memory, held_out, job.recipe.prediction)
    if not scores.isfinite().all():
        raise BadInput(f"the network's scores became nan in epoch {learner.epoch}: {CALMER}")
    truth = job.material.targets[held_out]
    loss = held_out_loss(scores, truth, job.recipe.training.loss)
    return {"held_out_loss": loss} | summarise(truth, scores) | {"held_out_s": time.perf_counter() - started}


def keep(job: Job, learner: Learner, row: dict[str, float], log: EpochLog) -> None:
    """Write best.pt if this epoch is the best, log.csv, then last.pt: killed in between, the epoch is done again."""
    metric = job.recipe.training.metric
    score = float(learner.epoch) if metric == "last" else row[metric]
    learner.schedule.epoch_over(row["lwlrap"] if metric == "last" else score)
    if score >= learner.best:
        learner.best = score
        save_checkpoint(job.home / "best.pt", checkpoint_of(job, learner, row, score=score))
    log.add(row | {"memory_mb": peak_memory_mb(job.device)})
    save_checkpoint(job.home / "last.pt", checkpoint_of(job, learner, row, score=score, resumable=True))


def checkpoint_of(
    job: Job, learner: Learner, row: dict[str, float], *, score: float = float("-inf"), resumable: bool = False
) -> Checkpoint:
    """The network as it is, with the figures of its epoch; `resumable` with all that training goes on from."""
    return Checkpoint(
        network=learner.scored.state_dict(),
        recipe=as_dict(job.recipe),
        labels=job.material.labels,
        n_bins=job.material.memory.n_bins,
        frames_per_second=job.material.memory.frames_per_second,
        fold=job.fold,
        seed=job.seed,
        epoch=learner.epoch,
        score=score,
        metrics=row,
        learnt=learner.learnt,
        resume=learner.state_dict() if resumable else None,
    )


if __name__ == "__main__":
    run_script(main)
