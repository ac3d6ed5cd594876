"""What make train refuses before anything is written: what cannot be trained, and what cannot go on."""

from collections.abc import Sequence

from core.device import check_compiler
from core.errors import BadInput
from train.loop.epoch_log import read_log
from train.loop.fold_job import Job
from train.loop.train_state import TAKEN_UP, check_unseen, start_learner
from train.runs.checkpoint import load_checkpoint, network_from


def check_jobs(jobs: Sequence[Job]) -> None:
    """Raise BadInput for what cannot be trained, before anything is written."""
    training = jobs[0].recipe.training
    if len(training.progressive or []) > training.epochs:  # here: networks of such recipes are there, and can be used
        raise BadInput(
            f"training.progressive = {training.progressive}: has more shares than training.epochs = {training.epochs}, "
            "so the last would never come; give fewer or train longer"
        )
    for job in jobs:
        job.material.held_out(job.fold)
    first, *others = {job.fold: job for job in jobs}.values()  # seeds of a fold start alike
    first.check_sizes(start_learner(first).network)
    if training.start_from:  # folds that start afresh start alike, too
        for job in others:
            start_learner(job)
    if training.compile:
        check_compiler(first.device)


def check_resumable(jobs: Sequence[Job]) -> bool:
    """Whether all networks are trained to their last epoch.

    Raises BadInput where one cannot go on from its last.pt, before anything of the run is touched.
    """
    finished = True
    for job in jobs:
        last, best = job.home / "last.pt", job.home / "best.pt"
        if not last.exists():
            finished = False
            continue
        checkpoint, lesson = load_checkpoint(last), job.material.lesson(job.fold, job.recipe.training)
        before = checkpoint.resume or {}
        if lacking := sorted(TAKEN_UP - before.keys()):
            raise BadInput(f"--resume: {last} lacks {', '.join(lacking)}, with which to go on: train without it")
        # An earlier version had no lesson.
        theirs = (checkpoint.labels, before["n_steps"], before.get("lesson", lesson))
        if theirs != (job.material.labels, job.n_steps, lesson):
            raise BadInput("--resume: the training clips or their labels have changed since; train without it")
        check_unseen(checkpoint.learnt, job.material, job.fold, f"--resume: {last}", "train without it")
        network_from(last, checkpoint)  # whose weights may be another version's
        if checkpoint.epoch and not best.exists():
            raise BadInput(f"--resume: {best} is gone; put it back, or train without --resume")
        if checkpoint.epoch:
            read_log(job.home, checkpoint.epoch)
        finished = finished and checkpoint.epoch >= job.recipe.training.epochs
    return finished
