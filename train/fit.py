"""SCRIPT make train: trains the networks of a run, fold by fold; train/loop/train_fold.py has the loop."""

from core.entrypoint import run_script

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace

from core.errors import UserError
from core.file_lock import file_lock
from core.paths import RunPaths
from recipe.cli import Command, parse_command, resolve_n_jobs
from train.data.training_set import TrainingSet, load_training_set, parse_folds
from train.evaluate.metrics import describe_excluded
from train.evaluate.out_of_fold import report_folds
from train.loop.distributed import Ranks, join_ranks
from train.loop.epoch_log import count_logged_epochs, describe_epoch_choice, import_summary_writer
from train.loop.fold_job import FoldJob
from train.loop.parallel_folds import show_epochs, train_in_parallel
from train.loop.preflight import check_jobs, choose_folder
from train.loop.relabel import describe_relabelling, relabel_noisy_clips
from train.loop.train_fold import train_fold
from train.runs.run_folder import (
    check_own_files,
    describe_recipe_change,
    get_fold_dir,
    replace_run,
    start_run,
)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--folds", nargs="+", default=["all"], help="Folds to train: all, or numbers as 0,2.")
    parser.add_argument(
        "--resume", action="store_true", help="Go on where the run was interrupted; refused if that was other training."
    )
    parser.add_argument(
        "--restart", action="store_true", help="Train anew; the run's networks stay until the new ones are whole."
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, or several: cuda:0,cuda:1.")
    parser.add_argument("--jobs", type=int, default=1, help="Networks trained at once on a CPU; -1 is one a core.")
    parser.add_argument("--scheduler", type=str, help="Train on the dask cluster of this address.")
    parser.add_argument("--tensorboard", action="store_true", help="Log for TensorBoard as well.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Train the networks of a run, fold by fold.", add_options)
    if command.options.tensorboard:
        import_summary_writer()
    with join_ranks(command.options.device) as (ranks, devices):
        train_run(command, ranks, devices)


def train_run(command: Command, ranks: Ranks, devices: list[torch.device]) -> None:
    """Train the networks of a run, one at a time on each of the devices, or `--jobs` of them on a CPU."""
    recipe, run_paths, options = command.recipe, command.run_paths, command.options
    n_jobs, device = resolve_n_jobs(options.jobs), devices[0]
    if ranks.n_ranks > 1 and (n_jobs > 1 or options.scheduler):
        raise UserError("torchrun has all its processes train one network: leave out --jobs and --scheduler")
    if options.resume and options.restart:
        raise UserError("--resume goes on with a run and --restart trains it anew: give one of them")
    if devices == [torch.device("cpu")]:
        devices *= n_jobs
    is_shared, on_device = ranks.n_ranks > 1 or len(devices) > 1, len(devices) == 1 or device.type == "cpu"
    training_set = load_training_set(
        recipe, run_paths, device, quiet=not ranks.is_first, shared=is_shared, on_device=on_device
    )
    folds = parse_folds(" ".join(options.folds), training_set.fold_numbers())
    training_sets = {fold: relabel_noisy_clips(training_set, recipe, fold, device) for fold in folds}
    if recipe.training.teacher:  # its scores may differ between ranks
        for fold, each in training_sets.items():
            targets, kept = ranks.copy_from_first((each.targets, each.kept))
            training_sets[fold] = replace(each, targets=targets, kept=kept)
    check_own_files(run_paths, recipe)

    def jobs_in(run_dir: Path) -> list[FoldJob]:
        seeds = range(recipe.training.seed, recipe.training.seed + recipe.training.seeds)
        return [
            FoldJob(recipe, training_sets[fold], fold, seed, get_fold_dir(run_dir, recipe, fold, number), device, ranks)
            for fold, (number, seed) in itertools.product(folds, enumerate(seeds))
        ]

    check_jobs(jobs_in(run_paths.run_dir))
    lock_path, fold_numbers = run_paths.run_dir.parent / f".{run_paths.run}.lock", training_set.fold_numbers()
    with file_lock(lock_path, f"make train of run {run_paths.run}") if ranks.is_first else nullcontext():
        choice: tuple[RunPaths, bool | None] | None = None
        if ranks.is_first:
            paths, finished = choice = choose_folder(run_paths, jobs_in, resume=options.resume, restart=options.restart)
            if finished and paths == run_paths and report_finished(run_paths, jobs_in(run_paths.run_dir)):
                choice = None
            else:
                start_run(paths, recipe, finished=bool(finished), folds=None if options.resume else fold_numbers)
        choice = ranks.copy_from_first(choice)
        if choice is None:
            return
        paths, finished = choice
        jobs = jobs_in(paths.run_dir)
        used_devices = devices[: len(jobs)] if device.type == "cpu" else devices  # here the frames are on no GPU
        if not finished:
            train_all(jobs, training_set, paths, options, used_devices, resume=finished is not None)
        if not ranks.is_first:
            return
        if paths != run_paths:
            dirs = sorted(paths.run_dir.glob("fold*"))
            begun = [each.name for each in dirs if count_logged_epochs(each) < recipe.training.epochs]
            replace_run(run_paths, recipe, fold_numbers, begun)
        report_folds(run_paths, recipe, training_set, device)
        for line in describe_epoch_choice(run_paths.run_dir, recipe.training.metric):
            print(line)


def report_finished(run_paths: RunPaths, jobs: Sequence[FoldJob]) -> bool:
    """Say that these networks are trained; whether the run's scores are there as well."""
    recipe, folds = jobs[0].recipe, ", ".join(map(str, dict.fromkeys(job.fold for job in jobs)))
    is_whole = run_paths.oof_csv.exists() and not describe_recipe_change(run_paths.run_dir, recipe, ["prediction"])
    print(
        f"run {run_paths.run} is finished{'' if is_whole else f' in folds {folds}'}: {len(jobs)} networks of "
        f"{recipe.training.epochs} epochs in {run_paths.run_dir}; --restart trains them anew"
    )
    return is_whole


def train_all(
    jobs: Sequence[FoldJob],
    training_set: TrainingSet,
    run_paths: RunPaths,
    options: Namespace,
    devices: Sequence[torch.device],
    *,
    resume: bool,
) -> None:
    """Train the networks, one after the other or side by side."""
    recipe = jobs[0].recipe
    training_sets = {job.fold: job.training_set for job in jobs}
    n_clips, n_labels = len(training_set.frame_bank.clips), len(training_set.labels)
    where = options.scheduler or ", ".join(dict.fromkeys(map(str, devices)))
    lines = [f"{n_clips} clips, {n_labels} labels, folds {list(training_sets)} on {where}"]
    lines += describe_excluded(training_set.targets[training_set.curated_rows()], training_set.labels)
    for job in {job.fold: job for job in jobs}.values():
        if crops := job.event_crops(0):
            n_free = len(crops.rows) - crops.n_events
            lines.append(
                f"fold {job.fold}: an epoch has a crop for each of {crops.n_events} events, {n_free} without any"
            )
    if recipe.training.teacher:
        lines += [describe_relabelling(training_set, relabelled, fold) for fold, relabelled in training_sets.items()]
    print(*lines, sep="\n")
    settings = {"resume": resume, "tensorboard": options.tensorboard}
    if options.scheduler:
        train_in_parallel(jobs, run_paths, [options.device], options.scheduler, settings)
    elif len(devices) > 1:
        train_in_parallel(jobs, run_paths, [str(device) for device in devices], None, settings)
    else:
        for job in jobs:
            show_epochs(job.output_dir.name, recipe, train_fold(job, **settings), is_shown=job.ranks.is_first)


if __name__ == "__main__":
    run_script(main, "the same command goes on after the last whole epoch")
