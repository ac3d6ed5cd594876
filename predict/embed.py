"""SCRIPT make embed: the embeddings of windows, for the clips of a dataset or for any recordings."""

from core.entrypoint import log_warning, run_script

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt

from core.csv_tables import write_table
from core.device import pick_device
from core.errors import UserError
from core.files import replace_files
from core.parallel import run_parallel
from core.paths import EMBEDDING_NAMES, EMBEDDINGS_FAILED_NAME, EMBEDDINGS_NAME, EMBEDDINGS_WARNINGS_NAME
from core.progress import progress_bar
from predict.inference.dataset_clips import FAILED_COLUMNS, StoredClips, find_failed, score_side_by_side
from predict.inference.recordings import Rows, find_input_files, pool_recordings, score_recordings
from predict.inference.run_loader import TrainedRun, load_run, warn_if_unfinished
from predict.inference.score_cache import RecordingScores
from predict.inference.tagger import Tagger
from predict.output.embeddings import read_provenance, write_embeddings
from predict.output.provenance import hash_dataset_frames, source_name
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import ErrorTally, decoder_limits
from preprocess.store.reader import open_store
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from train.data.corrected_clips import read_corrected_clips
from train.runs.run_folder import find_corrections
from train.runs.seen_clips import hash_names

Result = TypeVar("Result")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=str, help="A recording or a folder of them, instead of the dataset.")
    parser.add_argument("--fold", type=NonNegativeInt | None, help="Whose first network; by default the lowest fold's.")
    add_device_options(parser)


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write the embeddings of windows by a network of a run.", add_options)
    run_paths, options, failed, warnings = command.run_paths, command.options, Rows(), Rows()
    device = pick_device(options.device)
    run = load_run(run_paths.run_dir, replace(command.recipe.prediction, calibrate=False), device)
    warn_if_unfinished(run_paths.run_dir, run.recipe.training.epochs)
    fold = min(run.folds) if options.fold is None else options.fold
    tagger = run.embedder(fold)
    prediction = tagger.scorer.prediction
    provenance = {
        "recipe": run_paths.name,
        "networks": run.digest,
        "fold": fold,
        "source": source_name(options.input),
        "frames": None if options.input else hash_dataset_frames(run_paths),
        "prediction": {key: getattr(prediction, key) for key in ("window_seconds", "hop_seconds", "mode")},
    }
    folder = run_paths.input_dir(Path(options.input)) if options.input else run_paths.submission_dir
    with suppress(UserError):  # there are none, or damaged ones
        if (other := read_provenance(folder / EMBEDDINGS_NAME).get("source")) != provenance["source"]:
            log_warning(f"{folder / EMBEDDINGS_NAME} is of {other}, and is replaced")
    embed = embed_input if options.input else embed_dataset
    with (
        replace_files(folder, EMBEDDING_NAMES) as new,
        closing(embed(command, run, fold, tagger, device)) as results,
    ):
        n_values = run.folds[fold][0].head[-1].in_features
        assert isinstance(n_values, int)
        clips = pool_recordings(results, tagger, failed, warnings)
        n_windows = write_embeddings(new / EMBEDDINGS_NAME, clips, n_values, provenance)
        if failed and not n_windows:
            clip, reason = failed[0]
            raise UserError(f"none of the {len(failed)} recordings could be read ({clip}: {reason})")
        if failed:
            write_table(new / EMBEDDINGS_FAILED_NAME, FAILED_COLUMNS, failed)
        if warnings:
            write_table(new / EMBEDDINGS_WARNINGS_NAME, ["clip", "warning"], warnings)
    for name, found in ((EMBEDDINGS_FAILED_NAME, failed), (EMBEDDINGS_WARNINGS_NAME, warnings)):
        if found:
            what = "could not be read" if name == EMBEDDINGS_FAILED_NAME else "are to be checked"
            log_warning(f"{len(found)} recordings {what} ({found[0][0]}: {found[0][1]}): see {folder / name}")
    print(f"{n_windows} windows, {n_values} values each, by the network of fold {fold}: {folder / EMBEDDINGS_NAME}")


def embed_dataset(
    command: Command, run: TrainedRun, fold: int, tagger: Tagger, device: torch.device
) -> Generator[tuple[str, RecordingScores | DecodeError]]:
    """Yield why clips of the dataset have no embeddings, then those of the others, in the order of their table."""
    run_paths, n_jobs = command.run_paths, resolve_n_jobs(command.options.jobs)
    with open_store(run_paths.store, run.recipe.features) as store:
        table = read_corrected_clips(run_paths, find_corrections(run_paths, command.recipe), store).table
        for clip, reason in find_failed(table, store, run_paths).itertuples(index=False, name=None):
            yield clip, DecodeError(clip, reason)
        stored = StoredClips(store, device)
        clips = [clip for clip in table["clip"] if clip in stored.rows]
        n_trained = int(torch.isin(hash_names(clips), run.seen_clips[fold]).sum())
        print(f"{len(clips)} clips, of which the network was trained on {n_trained}")
        scored = score_side_by_side(tagger.scorer, clips, stored.read, device, n_jobs)
        with progress_bar(len(clips), "embed", "clip") as progress:
            for clip, windows in in_order(scored, clips):
                row = stored.rows[clip]
                yield clip, RecordingScores(windows, store.start_s[row], store.duration_s[row], store.warnings[row])
                progress.update()


def embed_input(
    command: Command, run: TrainedRun, fold: int, tagger: Tagger, device: torch.device
) -> Generator[tuple[str, RecordingScores | DecodeError]]:
    """Yield the embeddings of recordings of no dataset, or why there are none, in the order of their names."""
    recordings = find_input_files(Path(command.options.input))
    n_jobs = resolve_n_jobs(command.options.jobs)
    n_parallel, limits, tally = min(n_jobs, len(recordings)), decoder_limits(command.recipe.data), ErrorTally()

    def embed(clip: str) -> tuple[str, RecordingScores | DecodeError]:
        torch.set_num_threads(max(1, n_jobs // n_parallel))  # of this thread
        (result,) = score_recordings([recordings[clip]], tagger.scorer, run.recipe.features, limits, device)
        return clip, result

    with (
        progress_bar(len(recordings), "embed", "clip") as progress,
        closing(run_parallel(embed, recordings, n_parallel)) as results,
    ):
        for clip, result in in_order(results, list(recordings)):
            progress.update()
            tally.add(result if isinstance(result, DecodeError) else None)
            yield clip, result


def in_order(results: Iterable[tuple[str, Result]], clips: Sequence[str]) -> Iterator[tuple[str, Result]]:
    """Yield results by clip, which come in any order, in that of `clips`."""
    early, n_done = dict[str, Result](), 0
    for name, result in results:
        early[name] = result
        while n_done < len(clips) and clips[n_done] in early:
            yield clips[n_done], early.pop(clips[n_done])
            n_done += 1


if __name__ == "__main__":
    run_script(main)
