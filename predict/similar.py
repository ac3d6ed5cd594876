"""SCRIPT make similar: the places in recordings that are most like a clip, by the embeddings of make embed."""

from core.entrypoint import log_warning, run_script

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from core.csv_tables import write_table
from core.device import pick_device
from core.errors import UserError
from core.files import hash_files
from core.paths import EMBEDDINGS_NAME, SIMILAR_NAME, RunPaths
from predict.inference.recordings import score_recordings
from predict.inference.run_loader import load_run
from predict.output.embeddings import find_nearest, iter_embeddings, read_provenance
from predict.output.provenance import hash_dataset_frames, source_name
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits
from recipe.cli import parse_command
from train.runs.run_folder import find_best_checkpoints


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--to", type=str, help="The recording to compare with.")
    parser.add_argument("--input", type=str, help="The recordings to look in, where they are of no dataset.")
    parser.add_argument("--places", type=PositiveInt, default=20, help="Most places to list.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or cuda:1.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "List the places that are most like a clip.", add_options)
    run_paths, options = command.run_paths, command.options
    if not options.to or not Path(options.to).is_file():
        raise UserError(f"TO={options.to or ''}: name the recording to compare with, make similar TO=clip.wav")
    folder = run_paths.input_dir(Path(options.input)) if options.input else run_paths.submission_dir
    path = folder / EMBEDDINGS_NAME
    provenance = read_provenance(path)
    check_current(path, provenance, run_paths, source_name(options.input))
    device, prediction = pick_device(options.device), replace(command.recipe.prediction, calibrate=False)
    run = load_run(run_paths.run_dir, replace(prediction, **provenance["prediction"]), device)
    tagger = run.embedder(provenance["fold"])
    limits = decoder_limits(command.recipe.data)
    (scored,) = score_recordings([Path(options.to)], tagger.scorer, run.recipe.features, limits, device)
    if isinstance(scored, DecodeError):
        raise UserError(f"TO={options.to} cannot be read: {scored.reason}")
    if scored.warning:
        log_warning(f"{options.to}: {scored.warning}")
    query = tagger.pool_clip(scored.windows, scored.start_s, scored.duration_s).scores
    nearest = find_nearest(iter_embeddings(path), query, options.places)
    texts = nearest.assign(
        start_s=nearest["start_s"].map("{:.3f}".format),
        end_s=nearest["end_s"].map("{:.3f}".format),
        similarity=nearest["similarity"].map("{:.4f}".format),
    )
    write_table(folder / SIMILAR_NAME, texts.columns.tolist(), texts.itertuples(index=False, name=None))
    print(texts.to_string(index=False))
    print(f"the {len(texts)} places most like {options.to}: {folder / SIMILAR_NAME}")


def check_current(path: Path, provenance: dict[str, Any], run_paths: RunPaths, source: str | None) -> None:
    """Raise UserError for embeddings of other networks than the run has now, or of other recordings."""
    reason = ""
    if provenance.get("recipe") != run_paths.name:
        reason = f"is of recipe {provenance.get('recipe')!r}"
    elif provenance.get("networks") != hash_files(find_best_checkpoints(run_paths.run_dir)):
        reason = "was made by other networks than the run has now"
    elif provenance.get("source") != source:
        reason = f"is of {provenance.get('source')}"
    elif not source and provenance.get("frames") != hash_dataset_frames(run_paths):
        reason = f"is of other frames than {run_paths.clips_csv}"
    if reason:
        raise UserError(f"{path} {reason}: run make embed again")


if __name__ == "__main__":
    run_script(main)
