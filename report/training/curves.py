"""A run's logs as charts: losses, metrics and learning rates of its networks by epoch."""

from collections.abc import Mapping

import pandas as pd

from predict.output.summary import METRIC_NAMES
from report.media.charts import Chart, Line, make_chart, pick_colour


def chart_logs(logs: Mapping[str, pd.DataFrame]) -> list[Chart]:
    """The charts of logs by network; those of columns that no log has are left out."""
    colours = {network: pick_colour(number) for number, network in enumerate(logs)}

    def lines(column: str, suffix: str = "", *, dashed: bool = False) -> list[Line]:
        return [
            Line(f"{network}{suffix}", colours[network], list(zip(log["epoch"], log[column], strict=True)), dashed)
            for network, log in logs.items()
            if column in log
        ]

    losses = [*lines("train_loss", ", training", dashed=True), *lines("val_loss", ", held-out clips")]
    metrics = [make_chart(f"{name} of held-out clips", "epoch", lines(key)) for key, name in METRIC_NAMES.items()]
    charts = [
        make_chart("loss", "epoch", losses),
        *metrics,
        make_chart("learning rate at the end of an epoch", "epoch", lines("lr")),
    ]
    return [chart for chart in charts if chart]
