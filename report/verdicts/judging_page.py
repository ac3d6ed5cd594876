"""review.html: clips to judge on one page, as many as it holds."""

from core.entrypoint import log_warning

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.progress import progress_bar
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits, read_each
from preprocess.dataset.label_names import name_labels
from recipe.cli import Command
from report.html_pages import write_page
from report.media.data_uris import MAX_MEDIA_BYTES, audio_uri, picture_uri
from report.media.preview import Preview, read_preview
from report.media.spectrogram import spectrogram
from report.verdicts.clips_table import review_id

TEMPLATE = Path(__file__).parent / "page.html.j2"
PAGE_NAME = "review.html"
BATCH_CLIPS = 64
"""Clips that are read before it is known whether more have room."""


def write_judging_page(
    command: Command,
    folder: Path,
    clips: pd.DataFrame,
    verdicts: pd.DataFrame | None,
    verdicts_at: float,
    labels: Sequence[str],
    n_jobs: int,
) -> None:
    """Write the page: clips without verdicts first, labels in turn; `verdicts` are of a file of that time."""
    names = name_labels(labels, command.recipe.data)
    judged = set() if verdicts is None else set(verdicts[["clip", "label"]].itertuples(index=False, name=None))
    is_judged = [key in judged for key in clips[["clip", "label"]].itertuples(index=False, name=None)]
    seed = command.options.seed % 2**32  # pandas takes no more
    shuffled = clips.assign(is_judged=is_judged).sample(frac=1, random_state=seed)
    turn = shuffled.groupby(["is_judged", "label"]).cumcount()
    ordered = shuffled.assign(turn=turn).sort_values(["is_judged", "turn"], kind="stable")
    items, n_unreadable = read_items(command, folder, ordered, n_jobs)
    items.sort(key=lambda item: str(item["label"]))
    n_without_room = len(clips) - len(items) - n_unreadable
    write_page(
        folder / PAGE_NAME,
        TEMPLATE,
        title=f"{command.run_paths.run}, {folder.parent.name}",
        folder=str(folder),
        n_clips=len(clips),
        n_unreadable=n_unreadable,
        n_without_room=n_without_room,
        items=[item | {"name": names.get(item["label"], item["label"])} for item in items],
        show_scores=command.options.show_scores,
        vocabulary=labels,
        names=names,
        known=clips[["clip", "label"]].to_numpy().tolist(),
        earlier=[] if verdicts is None else verdicts.to_numpy().tolist(),
        earlier_at=int(verdicts_at * 1000),
        review_id=review_id(folder),
    )
    some = f", {len(items)} of {len(clips)} clips: more would make it too large" if n_without_room else ""
    print(f"listen and judge: {folder / PAGE_NAME}{some}")


def read_items(command: Command, folder: Path, clips: pd.DataFrame, n_jobs: int) -> tuple[list[dict[str, Any]], int]:
    """What the page has of the first of `clips`, as many as MAX_MEDIA_BYTES hold, and how many cannot be read."""
    seconds, limits = float((clips["end_s"] - clips["start_s"]).max()), decoder_limits(command.recipe.data)
    features = replace(command.recipe.features, channel="mean")  # of the one that clips have
    items, n_bytes, n_unreadable, rows = list[dict[str, Any]](), 0, 0, list(clips.itertuples(index=False))
    with progress_bar(len(rows), "page", "clip") as bar:
        for start in range(0, len(rows), BATCH_CLIPS):
            batch = rows[start : start + BATCH_CLIPS]
            arguments = [str((folder / str(row.clip)).absolute()) for row in batch], features, seconds
            read = dict[int, Preview | DecodeError]()
            with closing(read_each(read_preview, *arguments, n_jobs=n_jobs, limits=limits)) as previews:
                for index, preview in previews:
                    read[index] = preview
                    bar.update()
            for index, row in enumerate(batch):
                preview = read[index]
                if isinstance(preview, DecodeError):
                    log_warning(f"the page is without a clip that cannot be read: {preview}")
                    n_unreadable += 1
                    continue
                assert preview.frames is not None
                picture = spectrogram(preview.frames, features)
                media = {"audio": audio_uri(preview.mp3), "picture": picture_uri(picture)}
                n_bytes += sum(map(len, media.values()))
                if n_bytes > MAX_MEDIA_BYTES:
                    return items, n_unreadable
                score = f"{row.score:.3f}"  # nan of a window that the latest prediction has not
                shown = {"score": score} if command.options.show_scores and score != "nan" else {}
                items.append({"clip": row.clip, "label": row.label, **media, **shown})
    return items, n_unreadable
