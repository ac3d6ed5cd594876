"""What make train refuses before anything is written: what cannot be trained, and what cannot go on."""

from collections.abc import Sequence

from core.device import check_compiler
from core.errors import UserError
from train.loop.epoch_log import read_log
from train.loop.fold_job import FoldJob
from train.loop.train_state import RESUME_KEYS, check_leakage, create_train_state
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint


def check_jobs(jobs: Sequence[FoldJob]) -> None:
    """Raise UserError for what cannot be trained, before anything is written."""
    training = jobs[0].recipe.training
    if len(training.progressive or []) > training.epochs:  # here: networks of such recipes are there, and can be used
        raise UserError(
            f"training.progressive = {training.progressive}: has more shares than training.epochs = {training.epochs}, "
            "so the last would never come; give fewer or train longer"
        )
    for job in jobs:
        job.training_set.validation_rows(job.fold)
    first, *others = {job.fold: job for job in jobs}.values()  # seeds of a fold start alike
    first.check_input_shapes(create_train_state(first).network)
    if training.start_from:  # folds that start afresh start alike, too
        for job in others:
            create_train_state(job)
    if training.compile:
        check_compiler(first.device)


def check_resumable(jobs: Sequence[FoldJob]) -> bool:
    """Whether all networks are trained to their last epoch.

    Raises UserError where one cannot go on from its last.pt, before anything of the run is touched.
    """
    finished = True
    for job in jobs:
        last_path, best_path = job.output_dir / "last.pt", job.output_dir / "best.pt"
        if not last_path.exists():
            finished = False
            continue
        checkpoint = load_checkpoint(last_path)
        training_data_digest = job.training_set.training_data_digest(job.fold, job.recipe.training)
        resume_state = checkpoint.resume or {}
        if missing_keys := sorted(RESUME_KEYS - resume_state.keys()):
            raise UserError(
                f"--resume: {last_path} lacks {', '.join(missing_keys)}, with which to go on: train without it"
            )
        # An earlier version had no digest.
        saved_digest = resume_state.get("training_data_digest", training_data_digest)
        if (checkpoint.labels, resume_state["n_steps"], saved_digest) != (
            job.training_set.labels,
            job.n_steps,
            training_data_digest,
        ):
            raise UserError("--resume: the training clips or their labels have changed since; train without it")
        check_leakage(checkpoint.seen_clips, job.training_set, job.fold, f"--resume: {last_path}", "train without it")
        build_network_from_checkpoint(last_path, checkpoint)  # whose weights may be another version's
        if checkpoint.epoch and not best_path.exists():
            raise UserError(f"--resume: {best_path} is gone; put it back, or train without --resume")
        if checkpoint.epoch:
            read_log(job.output_dir, checkpoint.epoch)
        finished = finished and checkpoint.epoch >= job.recipe.training.epochs
    return finished
