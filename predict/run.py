"""SCRIPT make predict: a submission's CSVs, from the store's frames and the networks of a run."""

import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from command import read_command
from errors import BadInput, run_script
from places import Places
from predict.submission import fit_sample, read_sample, write_decisions, write_submission, write_windows
from predict.tagger import Answer, Run, load_run
from predict.thresholds import THRESHOLDS_NAME, read_thresholds
from preprocess.clips import read_clips
from preprocess.store import Store, open_store
from preprocess.tables import read_table, write_table
from train.device import pick_device
from train.scores import Scores


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Score clips with the networks of a run, and write the submission.", add_options)
    places = command.places
    device = pick_device(command.options.device)
    run = load_run(places.run_home, command.recipe.prediction, device)
    wanted = choose_clips(read_clips(places.clips_csv), run)
    with open_store(places.store, run.recipe.features) as store:
        failed = find_failed(wanted, store, places)
        heard = wanted[~wanted["clip"].isin(failed["clip"])]
        answers = tag_clips(heard, run, store, device)
    write_outputs(places, run.labels, answers, failed, for_sample=bool((wanted["split"] == "test").all()))


def choose_clips(table: pd.DataFrame, run: Run) -> pd.DataFrame:
    """The rows to score: the test clips, or where there are none each training clip whose fold has a network."""
    test = table[table["split"] == "test"]
    if len(test):
        print(f"{len(test)} test clips, scored by the networks of {len(run.folds)} folds together")
        return test
    held_out = table[table["fold"].isin(run.folds)]
    print(f"no test clips: {len(held_out)} training clips, each scored by the networks that never saw its fold")
    return held_out


def find_failed(wanted: pd.DataFrame, store: Store, places: Places) -> pd.DataFrame:
    """Columns clip and reason of the wanted clips that could not be read.

    Raises BadInput for a clip that is neither in the store nor known to have failed, and if none is left.
    """
    path = places.failed_csv
    known = read_table(path, ["clip", "reason"]) if path.exists() else pd.DataFrame(columns=["clip", "reason"])
    absent = wanted.loc[~wanted["clip"].isin(store.clips), "clip"]
    if lost := sorted(set(absent) - set(known["clip"])):
        raise BadInput(f"clip {lost[0]!r} is in {places.clips_csv} but not in {places.store}: run make features again")
    if len(absent) == len(wanted):
        raise BadInput(f"none of the {len(wanted)} clips to score could be read: see {path}")
    return known.loc[known["clip"].isin(absent), ["clip", "reason"]]


def tag_clips(clips: pd.DataFrame, run: Run, store: Store, device: torch.device) -> dict[str, Answer]:
    """The answer for each clip: test clips by every network, training clips by those that never saw their fold."""
    rows = {clip: row for row, clip in enumerate(store.clips) if store.variants[row] == 0}
    taggers = {fold: run.tagger(None if fold not in run.folds else fold) for fold in clips["fold"].unique()}
    answers = {}
    for clip, fold in tqdm(list(zip(clips["clip"], clips["fold"], strict=True)), "predict", unit="clip", disable=None):
        row = rows[clip]
        frames = torch.from_numpy(store.read(row)).to(device).float() * store.scale + store.offset
        answers[clip] = taggers[fold].tag(frames, float(store.start_s[row]), float(store.duration_s[row]))
    return answers


def write_outputs(
    places: Places, labels: list[str], answers: dict[str, Answer], failed: pd.DataFrame, for_sample: bool
) -> None:
    """Write the submission, its windows, its decisions and its failures, each whole, and say where they are."""
    scores = Scores(list(answers), labels, np.stack([answer.scores for answer in answers.values()]))
    sample = read_sample(places.sample_csv) if for_sample else None
    submitted, unheard = fit_sample(scores, sample) if sample else (scores, [])
    if unheard:
        warning = (
            f"warning: {len(unheard)} clips could not be read and get the mean of the others: {', '.join(unheard)}"
        )
        print(warning, file=sys.stderr)
    thresholds = read_thresholds(places.run_home / THRESHOLDS_NAME, labels)
    write_windows(places.submission("_windows.csv"), answers, labels)
    write_decisions(places.submission("_labels.csv"), scores, thresholds.decide(scores.values))
    write_submission(places.submission(), submitted, sample)
    if len(failed):
        write_table(places.submission("_failed.csv"), ["clip", "reason"], failed.itertuples(index=False))
    else:
        places.submission("_failed.csv").unlink(missing_ok=True)
    print(f"labels decided at {thresholds.source}: {places.submission('_labels.csv')}")
    print(f"windows: {places.submission('_windows.csv')}")
    print(f"{len(submitted.clips)} clips, {len(submitted.labels)} labels: {places.submission()}")


if __name__ == "__main__":
    run_script(main)
