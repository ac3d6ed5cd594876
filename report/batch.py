"""SCRIPT make batch: a page of what networks are trained on, before and after each augmentation of the recipe."""

from core.entrypoint import run_script

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from core.parallel import run_sandboxed
from core.progress import progress_bar
from preprocess.dataset.label_names import name_labels
from recipe import as_dict
from recipe.cli import parse_command, resolve_n_jobs
from report.augmentation.inversion import encode_frames
from report.augmentation.steps import AFTER_ALL, AugmentedClips, augment_first_clips, augmentation_probabilities
from report.html_pages import write_page
from report.media.data_uris import audio_uri, limit_media, picture_uri
from report.media.spectrogram import spectrogram
from train.loop.fold_job import FoldJob
from train.loop.load_job import load_fold_job

TEMPLATE = Path(__file__).parent / "augmentation" / "page.html.j2"
PAGE_NAME = "batch.html"
MIN_WEIGHT = 0.005
"""Labels of lower weights are not shown, and clips of lower shares."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--clips", type=PositiveInt, default=6, help="Clips on the page, the first of the epoch.")
    parser.add_argument("--seed", type=NonNegativeInt | None, help="Seed of the draws; by default training.seed.")
    parser.add_argument("--fold", type=int | None, help="Fold whose clips are left out; by default the first.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that make sound of frames; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a page of what networks are trained on.", add_options)
    recipe, run_paths, options = command.recipe, command.run_paths, command.options
    n_jobs = resolve_n_jobs(options.jobs)
    job = load_fold_job(recipe, run_paths, torch.device("cpu"), options.fold, options.seed)
    steps = list(augment_first_clips(job, options.clips))
    clips = build_clips(job, steps, n_jobs)
    page = run_paths.dataset_dir / PAGE_NAME
    write_page(
        page,
        TEMPLATE,
        title=recipe.name,
        fold=job.fold,
        seed=job.seed,
        batch_size=recipe.training.batch_size,
        crop_s=steps[0].x.shape[1] / job.training_set.frame_bank.frames_per_second,
        shape=tuple(steps[0].x.shape[1:]),
        kind=recipe.features.kind,
        after_all=AFTER_ALL,
        steps=[each.step for each in steps],
        augmentations=list(describe_augmentations(job)),
        n_limited=limit_media(card for _, cards in clips for card in cards),
        clips=clips,
    )
    print(f"the page: {page}")


def describe_augmentations(job: FoldJob) -> Iterator[tuple[str, float, str]]:
    """Yield the name of each augmentation, its probability and its keys in the recipe."""
    values = as_dict(job.recipe.training)
    for name, probability in augmentation_probabilities(job).items():
        keys = [key for key in values if key.startswith(f"{name}_") and not key.endswith("_probability")]
        yield name, probability, ", ".join(f"{key} {values[key]}" for key in keys)


def build_clips(job: FoldJob, steps: Sequence[AugmentedClips], n_jobs: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Name of each clip, and a card for each step: picture, sound and labels with their weights."""
    training_set, names = job.training_set, list(name_labels(job.training_set.labels, job.recipe.data).values())
    clips = []
    for number, row in enumerate(steps[0].rows.tolist()):
        clip = training_set.frame_bank.clips[row]
        values = np.stack([spectrogram(each.x[number].numpy(), job.recipe.features) for each in steps])
        value_range = float(values.min()), float(values.max())
        cards = [
            {
                "clip": clip,
                "step": each.step,
                "picture": picture_uri(picture, value_range),
                "labels": [
                    (names[label], float(each.y[number, label]))
                    for label in torch.nonzero(each.y[number] >= MIN_WEIGHT).flatten().tolist()
                ],
                "partners": [
                    (training_set.frame_bank.clips[other], share)
                    for other, share in sorted(each.shares[number].items(), key=lambda item: -item[1])
                    if other != row and share >= MIN_WEIGHT
                ],
            }
            for each, picture in zip(steps, values, strict=True)
        ]
        clips.append((clip, cards))
    tasks = [
        (index, frames.numpy(), job.recipe.features)
        for index, frames in enumerate(torch.cat([each.x for each in steps]))
    ]
    all_cards = [cards[step] for step in range(len(steps)) for _, cards in clips]
    with (
        progress_bar(len(tasks), "sound", "crop") as bar,
        closing(run_sandboxed(encode_frames, tasks, n_jobs)) as sounds,
    ):
        for index, mp3 in sounds:
            all_cards[index]["audio"] = audio_uri(mp3)
            bar.update()
    return clips


if __name__ == "__main__":
    run_script(main)
