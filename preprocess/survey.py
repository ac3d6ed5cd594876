"""SCRIPT  make survey: statistics of a dataset, for the time before training, in the terminal and in survey.json."""

from core.entrypoint import run_script

import json
from collections.abc import Sequence
from contextlib import closing

from jsonargparse import ArgumentParser

from core.files import atomic_write
from core.progress import progress_bar
from core.sandbox import SandboxLimits
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits, read_each
from preprocess.dataset.label_names import name_labels
from preprocess.dataset.loader import read_dataset
from preprocess.statistics.dataset import dataset_statistics
from preprocess.statistics.measure import AudioStats, measure_recording
from preprocess.statistics.report import format_report
from recipe.cli import parse_command, resolve_n_jobs


def measure_recordings(
    paths: Sequence[str], channel: str | int, n_jobs: int, limits: SandboxLimits
) -> list[AudioStats | DecodeError]:
    """Measure every recording, in the order of `paths`."""
    measured: dict[int, AudioStats | DecodeError] = {}
    audio_s, n_failed = 0.0, 0
    with (
        progress_bar(len(paths), "survey", "clip") as bar,
        closing(read_each(measure_recording, paths, channel, n_jobs=n_jobs, limits=limits)) as results,
    ):
        for index, result in results:
            measured[index] = result
            if isinstance(result, DecodeError):
                n_failed += 1
            else:
                audio_s += result.duration_s
            bar.set_postfix_str(f"{audio_s / 3600:.2f} h of sound, {n_failed} failed", refresh=False)
            bar.update()
    return [measured[index] for index in range(len(paths))]


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that decode; -1 is one a core.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Print and save statistics of a dataset.", add_options)
    n_jobs, data = resolve_n_jobs(command.options.jobs), command.recipe.data
    dataset = read_dataset(data)
    channel, paths = command.recipe.features.channel, list(dataset.table["path"])
    measured = measure_recordings(paths, channel, n_jobs, decoder_limits(data))
    stats = {"layout": data.layout, "folder": str(dataset.folder), **dataset_statistics(dataset, measured)}
    path = command.run_paths.survey_json
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(stats, ensure_ascii=False, indent=1), encoding="utf-8")
    print(f"{command.recipe.name}: layout {data.layout} in {dataset.folder}\n")
    names = name_labels(dataset.vocabulary, data)
    shown = stats | {"labels": [label | {"label": names[label["label"]]} for label in stats["labels"]]}
    print("\n".join(format_report(shown)))
    print(f"\nall of it: {path}")


if __name__ == "__main__":
    run_script(main)
