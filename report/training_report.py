"""SCRIPT make report: a trained run by its out-of-fold clips, as one self-contained HTML page."""

from core.entrypoint import run_script

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from core.csv_tables import read_table
from core.device import pick_device
from core.errors import UserError
from core.paths import TRAINING_REPORT_NAME
from predict.decide.fitted_params import with_window_threshold
from predict.inference.run_loader import TrainedRun, load_run, warn_if_unfinished
from predict.output.summary import METRIC_NAMES, TUNED_HERE, SubmissionSummary
from preprocess.audio.isolated import decoder_limits
from preprocess.store.reader import open_store
from recipe import as_dict
from recipe.cli import add_device_options, parse_command, resolve_n_jobs
from report import summary as summaries
from report.clip_cards import ClipMedia, build_clip_cards
from report.html_pages import write_page
from report.media.data_uris import limit_media, warn_if_no_sound
from report.media.preview import AUDIO_S
from report.media.saliency import SaliencyMapper
from report.training.clip_map import make_clip_map
from report.training.clips_to_check import REASONS, ClipToCheck, choose_clips, describe_clip, find_clips_to_check
from report.training.curves import chart_logs
from report.training.decisions import chart_reliability, chart_thresholds, measure_calibration
from report.training.label_errors import count_confusions, label_metrics
from report.training.network_summary import list_layers, picture_filters
from report.training.out_of_fold import OofSummary, summarise_out_of_fold
from report.training.run_table import metrics_by_fold
from train.data.corrected_clips import DROP, read_corrected_clips
from train.evaluate.windows import window_and_hop_frames
from train.loop.epoch_log import read_logs, sum_minutes
from train.runs.run_folder import find_corrections

TEMPLATE = Path(__file__).parent / "training" / "page.html.j2"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--clips", type=PositiveInt, default=60, help="Most clips on the page, each with picture and sound."
    )
    add_device_options(parser)


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a page of a trained run and its out-of-fold clips.", add_options)
    run_paths, options = command.run_paths, command.options
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    prediction = with_window_threshold(run_paths.run_dir, command.recipe.prediction)
    run = load_run(run_paths.run_dir, prediction, device)
    warn_if_unfinished(run_paths.run_dir, run.recipe.training.epochs)
    logs = read_logs(run_paths.run_dir)
    with open_store(run_paths.store, run.recipe.features) as store:
        clips = read_corrected_clips(run_paths, find_corrections(run_paths, command.recipe), store)
        oof = summarise_out_of_fold(command, run, store, clips.table, device, n_jobs)
        paths = dict(zip(clips.table["clip"], map(Path, clips.table["path"]), strict=True))
        clip_media = ClipMedia(paths, run.recipe.features, decoder_limits(command.recipe.data), store)
        clip_map = make_clip_map(run, store, oof, device, n_jobs)
        found = find_clips_to_check(oof)
        cards = build_cards(oof, choose_clips(found, options.clips), clip_media, run, n_jobs)
    scores = describe_scores(oof)
    print(scores["by_fold"].rename_axis("fold").reset_index().to_string(index=False, float_format="%.4f"))
    if oof.curated.thresholds.is_tuned:
        print(TUNED_HERE)
    page = run_paths.submission_dir / TRAINING_REPORT_NAME
    write_page(
        page,
        TEMPLATE,
        run=run_paths.run,
        name=run_paths.name,
        n_networks=len(run.networks),
        minutes=sum_minutes(logs.values()),
        charts_of_logs=chart_logs(logs),
        metric_names=METRIC_NAMES,
        **scores,
        **describe_cards(cards, found),
        **describe_corrections(clips.corrections, oof, has_events=run_paths.events_csv.exists()),
        **describe_decisions(oof.curated, run_paths.run_dir, run),
        **describe_network(run, store.n_bins),
        one_label=run.activation == "softmax",
        clip_map=clip_map,
    )
    print(f"the page: {page}")
    warn_if_no_sound(cards)


def build_cards(
    oof: OofSummary, chosen: dict[int, ClipToCheck], clip_media: ClipMedia, run: TrainedRun, n_jobs: int
) -> list[dict[str, Any]]:
    """The cards of the clips to check, in their order."""
    for network in run.networks:
        network.cpu()  # where the frames of single clips are
    mapper = SaliencyMapper(run, dict(zip(oof.clips.clips, oof.folds.tolist(), strict=True)))
    reasons = {row: list(clip.ranks) for row, clip in chosen.items()}
    cards = build_clip_cards(oof.clips, reasons, clip_media, mapper, n_jobs)
    limit_media(cards)
    losses = summaries.clip_table(oof.clips)["loss"]
    return [
        describe_clip(card, row, clip, oof) | {"loss": losses[row]}
        for card, (row, clip) in zip(cards, chosen.items(), strict=True)
    ]


def describe_scores(oof: OofSummary) -> dict[str, Any]:
    """What the page shows of scores: of folds, of labels, and confusions."""
    curated = oof.curated
    truth, scores, thresholds = map(torch.from_numpy, (curated.truth, curated.scores, curated.thresholds.values))
    return {
        "summary": curated,
        "n_noisy": int(oof.is_noisy.sum()),
        "key_metrics": summaries.key_metrics(curated),
        "by_fold": metrics_by_fold(truth, scores, torch.from_numpy(oof.folds[~oof.is_noisy]), thresholds),
        "label_table": label_metrics(curated),
        "confusions": count_confusions(curated),
    }


def describe_cards(cards: list[dict[str, Any]], found: dict[int, ClipToCheck]) -> dict[str, Any]:
    """The clips to check, and how many of each reason there are and are shown."""
    return {
        "cards": cards,
        "reasons": REASONS,
        "n_found": Counter(reason for clip in found.values() for reason in clip.ranks),
        "n_shown": Counter(reason for card in cards for reason in card["ranks"]),
        "audio_s": AUDIO_S,
    }


def describe_corrections(corrections: str | None, oof: OofSummary, *, has_events: bool) -> dict[str, Any]:
    """What corrections.csv is made of: labels with their names, and the rows of earlier corrections.

    Clips with events have the labels of these, so that they can be dropped alone.
    """
    columns = ["clip", "labels"]
    earlier = read_table(Path(corrections), columns)[columns].to_numpy().tolist() if corrections else []
    return {
        "decisions": [] if DROP in oof.clips.labels else ["keep", *([] if has_events else ["relabel"]), "drop"],
        "vocabulary": list(zip(oof.clips.labels, oof.clips.label_names, strict=True)),
        "earlier": earlier,
    }


def describe_decisions(summary: SubmissionSummary, run_dir: Path, run: TrainedRun) -> dict[str, Any]:
    """Calibration, but for shares of windows, and charts of it and of thresholds."""
    is_share = run.prediction.pooling == "vote_fraction"
    measured, gap = dict[str, dict[str, Any]](), ""
    try:
        measured = {} if is_share else measure_calibration(summary, run_dir, run.activation, run.prediction)
    except UserError as error:
        gap = f"There are no figures of calibration: {error}."
    reliability = chart_reliability(measured) if measured else None
    charts = [reliability, chart_thresholds(summary)]
    return {"calibration": measured, "calibration_gap": gap, "decision_charts": charts}


def describe_network(run: TrainedRun, n_bins: int) -> dict[str, Any]:
    """The first network, the recipe that it was trained by, and what networks were trained with."""
    fold, (network, *_) = next(iter(run.folds.items()))
    window, _ = window_and_hop_frames(run.prediction, run.frames_per_second)
    return {
        "recipe": run.recipe,
        "fold": fold,
        "layers": list_layers(network, window, n_bins),
        "filters": picture_filters(network, run.recipe.features.sample_rate_hz),
        "window_s": window / run.frames_per_second,
        "recipe_yaml": yaml.safe_dump(as_dict(run.recipe), sort_keys=False, allow_unicode=True),
        "versions": run.versions,
    }


if __name__ == "__main__":
    run_script(main)
