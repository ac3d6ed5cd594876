"""SCRIPT make report: a trained run by its out-of-fold clips, as one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path

import torch

from core.device import pick_device
from core.entrypoint import run_script
from core.files import atomic_write
from core.paths import TRAINING_REPORT_NAME
from predict.decide.fitted_params import with_window_threshold
from predict.inference.run_loader import load_run, warn_if_unfinished
from predict.output.summary import METRIC_NAMES
from recipe.cli import add_device_options, parse_command, resolve_n_jobs
from report import summary as summaries
from report.html_pages import render_page
from report.run_table import metrics_by_fold
from report.training.curves import chart_logs
from report.training.label_errors import count_confusions, label_metrics
from report.training.out_of_fold import summarise_out_of_fold
from train.loop.epoch_log import read_logs, sum_minutes

TEMPLATE = Path(__file__).parent / "training" / "page.html.j2"


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Write a page of a trained run and its out-of-fold clips.", add_device_options)
    run_paths, options = command.run_paths, command.options
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    prediction = with_window_threshold(run_paths.run_dir, command.recipe.prediction)
    run = load_run(run_paths.run_dir, prediction, device)
    warn_if_unfinished(run_paths.run_dir, run.recipe.training.epochs)
    logs = read_logs(run_paths.run_dir)
    oof = summarise_out_of_fold(command, run, device, n_jobs)
    curated = oof.curated
    truth, scores, thresholds = map(torch.from_numpy, (curated.truth, curated.scores, curated.thresholds.values))
    by_fold = metrics_by_fold(truth, scores, torch.from_numpy(oof.folds[~oof.is_noisy]), thresholds)
    print(by_fold.rename_axis("fold").reset_index().to_string(index=False, float_format="%.4f"))
    html = render_page(
        TEMPLATE,
        run=run_paths.run,
        name=run_paths.name,
        summary=curated,
        n_noisy=int(oof.is_noisy.sum()),
        key_metrics=summaries.key_metrics(curated),
        n_networks=len(run.networks),
        minutes=sum_minutes(logs.values()),
        charts_of_logs=chart_logs(logs),
        metric_names=METRIC_NAMES,
        by_fold=by_fold,
        label_table=label_metrics(curated),
        confusions=count_confusions(curated),
    )
    page = run_paths.submission_dir / TRAINING_REPORT_NAME
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(f"the page: {page}")


if __name__ == "__main__":
    run_script(main)
