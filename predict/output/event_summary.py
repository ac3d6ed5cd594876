"""The windows of a submission against the events of its truth: by window, by event and by second."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.csv_tables import write_table
from core.paths import EVENT_METRICS_NAME, SUBMISSION_NAME, WINDOWS_NAME
from predict.decide.fitted_params import window_min_scores, with_window_threshold
from predict.inference.tagger import ClipPrediction
from predict.output.detections import DetectionFilter, detect
from predict.output.submission import read_windows
from predict.output.summary import SubmissionSummary, named_metrics
from recipe.cli import Command
from train.evaluate.event_metrics import EventScores, label_windows, score_events, score_segments


@dataclass(frozen=True)
class EventSummary:
    """Metrics of a submission's windows, and of the events that consecutive windows of a label make."""

    n_windows: int
    windows: Mapping[str, float]
    """Every metric by name, over windows instead of clips."""
    events: EventScores
    segments: EventScores
    notes: Sequence[str]
    """What is left out or counted otherwise than it may seem."""

    def overall(self) -> pd.DataFrame:
        """micro F1, macro F1 and error rate (columns) of events and of segments (rows)."""
        kinds = {"event": self.events, "segment": self.segments}
        rows = {kind: (scores.f1_micro, scores.f1_macro, scores.error_rate) for kind, scores in kinds.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["micro F1", "macro F1", "error rate"])

    def per_label(self) -> pd.DataFrame:
        """A row a label: how many events and segments are true, are found, are both, and F1."""
        kinds = {"event": self.events, "segment": self.segments}
        tables = [scores.counts.assign(F1=scores.f1_per_label).add_prefix(f"{kind} ") for kind, scores in kinds.items()]
        return pd.concat(tables, axis=1)


def summarise_events(command: Command, summary: SubmissionSummary, path: Path) -> EventSummary | None:
    """The windows beside the submission at `path` against the events of `summary`; None where there are no windows.

    Windows are decided as `make predict` exports them, and consecutive ones of a label are one event.
    """
    table = path.with_name(WINDOWS_NAME)
    is_own = path.name == SUBMISSION_NAME and table.exists()  # no blend, nor scores of another program
    clips = [clip for clip, is_known in zip(summary.clips, summary.has_truth, strict=True) if is_known]
    windows = read_windows(table, clips, summary.labels) if is_own else {}
    if summary.events is None or not windows:
        return None
    prediction = with_window_threshold(command.run_paths.run_dir, command.recipe.prediction)
    written = [f"{score:.6g}" for score in np.ravel(window_min_scores(summary.thresholds, prediction))]
    min_scores = np.full(len(summary.labels), np.array(written, np.float64))
    scores = np.ascontiguousarray(np.concatenate([rows.to_numpy() for rows in windows.values()]))
    by_clip, none = dict(iter(summary.events.groupby("fname"))), summary.events[:0]
    truth = [
        label_windows(by_clip.get(clip, none), *_times(rows), summary.labels, command.recipe.training.min_overlap_s)
        for clip, rows in windows.items()
    ]
    is_filtered = np.isnan(scores).any() or len(windows) < len(clips)
    note = (
        f"scores that {table} lacks (--min_score, --top_labels) count as 0; windows without any are not counted, and "
        "events on either side of them may count as one"
    )
    found = find_events(windows, min_scores)
    return EventSummary(
        len(scores),
        named_metrics(np.concatenate(truth), np.nan_to_num(scores), min_scores),
        score_events(summary.events, found, summary.labels),
        score_segments(summary.events, found, summary.labels),
        [note] if is_filtered else [],
    )


def find_events(windows: Mapping[str, pd.DataFrame], min_scores: np.ndarray) -> pd.DataFrame:
    """The events fname, start_s, end_s, label that consecutive windows make, from what `read_windows` returns."""
    filters, found = DetectionFilter(min_scores, merge=True), []
    for clip, rows in windows.items():
        (start_s, end_s), values = _times(rows), rows.to_numpy()
        prediction = ClipPrediction(start_s, end_s, values, values.max(0), float(end_s.max()))
        found += [
            (clip, one.start_s, one.end_s, one.label) for one in detect(prediction, rows.columns.tolist(), filters)
        ]
    types = {"fname": "str", "start_s": "float64", "end_s": "float64", "label": "str"}
    return pd.DataFrame(found, columns=list(types)).astype(types)


def describe_events(summary: SubmissionSummary) -> Iterator[str]:
    """What is to be known of the events of a truth, in words."""
    if summary.events is None:
        return
    unknown = summary.events.loc[~summary.events["label"].isin(summary.labels), "label"]
    if len(unknown):
        names = ", ".join(sorted(set(unknown)))
        yield f"{len(unknown)} events are left out, of labels that the networks do not know: {names}"
    clips = {clip for clip, is_known in zip(summary.clips, summary.has_truth, strict=True) if is_known}
    if n_empty := len(clips.difference(summary.events["fname"])):
        yield f"{n_empty} of {len(clips)} clips have no event in the truth, and count as clips without labels"


def _times(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(start_s, end_s) of a clip's windows."""
    return rows.index.get_level_values("start_s").to_numpy(), rows.index.get_level_values("end_s").to_numpy()


def write_event_metrics(folder: Path, summary: EventSummary) -> Path:
    """Write the metrics as a table metric, label, value, the label blank for all together; returns its path."""
    rows = [(f"window {name}", "", value) for name, value in summary.windows.items()]
    for name, column in summary.overall().items():
        rows += [(f"{kind} {name}", "", value) for kind, value in column.items()]
    for name, column in summary.per_label().items():
        rows += [(str(name), str(label), value) for label, value in column.items()]
    path = folder / EVENT_METRICS_NAME
    texts = ((name, label, "" if np.isnan(value) else f"{value:.6g}") for name, label, value in rows)
    write_table(path, ["metric", "label", "value"], texts)
    return path
