"""Checks of make train before anything is written: whether and where the networks can be trained, or resumed."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from core.device import check_compiler
from core.errors import UserError
from core.paths import RunPaths
from recipe import get_section
from train.loop.epoch_log import read_log, warn_if_interrupted
from train.loop.fold_job import FoldJob
from train.loop.train_state import RESUME_KEYS, check_leakage, create_train_state
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint
from train.runs.run_folder import describe_recipe_change, find_best_checkpoints, paths_beside, set_aside


def check_jobs(jobs: Sequence[FoldJob]) -> None:
    """Raise UserError for what cannot be trained. Warns of other runs' networks whose training is not finished."""
    training = jobs[0].recipe.training
    if len(training.progressive or []) > training.epochs:  # trained networks of such a recipe remain usable
        raise UserError(
            f"training.progressive = {training.progressive}: has more shares than training.epochs = {training.epochs}, "
            "so the last would never come; give fewer or train longer"
        )
    if training.batch_size % jobs[0].ranks.n_ranks:
        raise UserError(
            f"training.batch_size = {training.batch_size}: must be a multiple of the {jobs[0].ranks.n_ranks} processes "
            "of torchrun, which share each batch"
        )
    for job in jobs:
        job.training_set.validation_rows(job.fold)
    first, *others = {job.fold: job for job in jobs}.values()  # a fold's seeds start from networks of one run
    first.check_input_shapes(create_train_state(first).network)
    if training.start_from:
        for job in others:
            create_train_state(job)
    if training.compile:
        check_compiler(first.device)
    for path in dict.fromkeys(path for job in jobs if job.ranks.is_first for path in job.other_networks):
        warn_if_interrupted(path, get_section(load_checkpoint(path).recipe, "training").get("epochs", 0))


def check_resumable(jobs: Sequence[FoldJob]) -> bool:
    """Whether all networks are trained to their last epoch. Raises UserError where one cannot resume from last.pt."""
    finished = True
    for job in jobs:
        last_path, best_path = job.output_dir / "last.pt", job.output_dir / "best.pt"
        if not last_path.exists():
            if best_path.exists():
                raise UserError(f"--resume: {last_path} is gone; put it back, or train without --resume")
            finished = False
            continue
        checkpoint = load_checkpoint(last_path)
        resume_state = checkpoint.resume or {}
        if missing_keys := sorted(RESUME_KEYS - resume_state.keys()):
            raise UserError(
                f"--resume: {last_path} lacks {', '.join(missing_keys)}, with which to go on: train without it"
            )
        saved_data = (checkpoint.labels, resume_state["n_steps"], resume_state["data_digest"])
        if saved_data != (job.training_set.labels, job.n_steps, job.training_data_digest):
            raise UserError(
                "--resume: the training clips, their recordings, their labels, or the networks of training.teacher or "
                "training.start_from have changed since; train without it"
            )
        check_leakage(checkpoint, job.training_set, job.fold, f"--resume: {last_path}", "train without it")
        build_network_from_checkpoint(last_path, checkpoint)  # the weights may be of another version
        if checkpoint.epoch:
            if not best_path.exists():
                raise UserError(f"--resume: {best_path} is gone; put it back, or train without --resume")
            read_log(job.output_dir, checkpoint.epoch)
        finished = finished and checkpoint.epoch >= job.recipe.training.epochs
    return finished


def choose_folder(
    run_paths: RunPaths, jobs_in: Callable[[Path], Sequence[FoldJob]], *, resume: bool, restart: bool
) -> tuple[RunPaths, bool | None]:
    """Where the networks are trained, and whether all are there; None where they are trained anew.

    That is the run's own folder, or with `restart`, and where it has networks that are not to go on, one beside it
    (paths_beside).
    Raises UserError where `resume` asks for what cannot go on.
    """
    beside, obstacle = paths_beside(run_paths), UserError("--restart")
    if resume and not any(path for paths in (beside, run_paths) for path in paths.run_dir.glob("fold*/*.pt")):
        raise UserError(
            f"--resume: there is no network in {run_paths.run_dir}: correct --run, or train without --resume"
        )
    for paths in (beside,) if restart else (beside, run_paths):
        if not paths.run_dir.exists():
            continue
        try:
            jobs = jobs_in(paths.run_dir)
            if differing_keys := describe_recipe_change(paths.run_dir, jobs[0].recipe):
                raise UserError(
                    f"--resume: run {paths.run_dir.name} was begun with {differing_keys}; give changed recipes a --run "
                    "of their own"
                )
            return paths, check_resumable(jobs)
        except UserError as error:
            obstacle = error
            if resume and paths is run_paths:
                raise
    if find_best_checkpoints(beside.run_dir):
        set_aside(beside.run_dir, run_paths.run, f"what was trained anew of run {run_paths.run}")
    shutil.rmtree(beside.run_dir, ignore_errors=True)
    if find_best_checkpoints(run_paths.run_dir):
        reason = str(obstacle).removeprefix("--resume: ").partition("; ")[0]
        print(f"run {run_paths.run} is trained anew ({reason}); its networks stay until the new ones are whole")
        return beside, None
    return beside if restart else run_paths, None  # beside, so that --restart goes on where it was interrupted
