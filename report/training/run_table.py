"""The runs of a dataset: scores out of fold and their spread, curves, and the keys in which their recipes differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor

from core.errors import UserError
from core.paths import RECIPE_NAME, RunPaths
from predict.output.ground_truth import read_oof_scores
from recipe import Recipe
from recipe.prediction import DEFAULT_THRESHOLD
from train.data.corrected_clips import read_corrected_clips
from train.evaluate.metrics import METRICS, compute_metrics
from train.loop.epoch_log import read_logs, sum_minutes
from train.runs.run_folder import find_corrections

NOT_COMPARED = ("name", "data.folder", "data.table")
"""Keys that say where things are, and not what was done."""


@dataclass(frozen=True)
class RunSummary:
    """A run's recipe, logs and scores."""

    name: str
    recipe: Mapping[str, Any]
    """`section.key` to value."""
    logs: list[pd.DataFrame]
    """A network each: a row an epoch, columns of numbers."""
    fold_metrics: pd.DataFrame
    """Metrics of curated clips that were scored by networks not trained on them: a row a fold, and `all`."""
    gap: str = ""
    """Why there are no metrics, in words."""

    def curve(self, column: str) -> list[float]:
        """The mean over networks by epoch, as far as all networks were trained; [] without such a column."""
        columns = [log[column] for log in self.logs if column in log]
        return pd.concat(columns, axis=1, join="inner").mean(axis=1).tolist() if columns else []


def read_runs(dataset_dir: Path) -> list[RunSummary]:
    """The runs of a dataset, by name."""
    names = sorted(path.parent.name for path in (dataset_dir / "runs").glob(f"[!.]*/{RECIPE_NAME}"))
    return [_read_run(RunPaths(dataset_dir.parent, Path(), dataset_dir.name, name)) for name in names]


def _read_run(run_paths: RunPaths) -> RunSummary:
    run_dir = run_paths.run_dir
    try:
        recipe = _flatten(yaml.safe_load((run_dir / RECIPE_NAME).read_text(encoding="utf-8")))
        logs = list(read_logs(run_dir).values())
    except (UserError, ValueError, AttributeError, yaml.YAMLError) as error:
        return RunSummary(run_dir.name, {}, [], pd.DataFrame(), f"it cannot be read: {error}")
    if not run_paths.oof_csv.exists():
        return RunSummary(run_dir.name, recipe, logs, pd.DataFrame(), "it is not finished")
    try:
        return RunSummary(run_dir.name, recipe, logs, _fold_metrics(run_paths, find_corrections(run_paths, Recipe())))
    except UserError as error:
        return RunSummary(run_dir.name, recipe, logs, pd.DataFrame(), str(error))


def _flatten(recipe: Any) -> dict[str, Any]:
    sections = {name: values for name, values in recipe.items() if isinstance(values, dict)}
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def _fold_metrics(run_paths: RunPaths, corrections: str | None) -> pd.DataFrame:
    """Metrics of a run's curated clips. Raises UserError where the table of clips has others."""
    clips = read_corrected_clips(run_paths, corrections)
    scores, truth = read_oof_scores(run_paths, clips)
    rows = clips.table[(clips.table["split"] == "train") & (clips.table["label_quality"] == "curated")]
    if len(truth) < len(rows):
        raise UserError("its clips are not those of today: train it again")
    folds = torch.tensor(clips.table.set_index("clip").loc[scores.clips, "fold"].to_numpy())
    return metrics_by_fold(torch.from_numpy(truth), torch.from_numpy(scores.values), folds)


def metrics_by_fold(
    truth: Tensor, scores: Tensor, folds: Tensor, threshold: float | Tensor = DEFAULT_THRESHOLD
) -> pd.DataFrame:
    """Metrics of clips, whose `folds` are int64 [n_clips], as compute_metrics has them: a row a fold, and `all`."""
    chosen = {str(fold): folds == fold for fold in folds.unique().tolist()} | {"all": torch.ones_like(folds) > 0}
    rows = {fold: compute_metrics(truth[rows], scores[rows], threshold) for fold, rows in chosen.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def score_table(runs: Sequence[RunSummary]) -> pd.DataFrame:
    """A row a run: networks, epochs, minutes, metrics, and of the first metric the mean and deviation over folds."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {
            "run": run.name,
            "networks": len(run.logs),
            "epochs": min(map(len, run.logs), default=0),
            "minutes": f"{sum_minutes(run.logs):.1f}",
        }
        if len(run.fold_metrics):
            folds = run.fold_metrics.drop(index="all")
            main = folds.columns[0]
            row |= {str(name): value for name, value in run.fold_metrics.loc["all"].items()}
            spread = f" ± {folds[main].std():.4f}" if len(folds) > 1 else ""
            row |= {f"{main} over folds": f"{folds[main].mean():.4f}{spread}"}
        rows.append(row | {"note": run.gap})
    columns = ["run", "networks", "epochs", "minutes", *METRICS]
    table = pd.DataFrame(rows)
    return table[[*(name for name in columns if name in table), *(name for name in table if name not in columns)]]


def seed_table(runs: Sequence[RunSummary]) -> pd.DataFrame:
    """Runs whose recipes differ in nothing but `training.seed`: each metric's mean and deviation over them.

    Of runs that share seeds, and so networks (`training.seeds`), the first counts.
    """
    scored = [run for run in runs if len(run.fold_metrics)]
    groups: dict[str, list[RunSummary]] = {}
    for run in scored:
        same = {key: value for key, value in run.recipe.items() if key not in (*NOT_COMPARED, "training.seed")}
        group = groups.setdefault(repr(same), [])
        if all(_network_seeds(run).isdisjoint(_network_seeds(other)) for other in group):
            group.append(run)
    rows = []
    for group in (group for group in groups.values() if len(group) > 1):
        metrics = pd.DataFrame([run.fold_metrics.loc["all"] for run in group])
        spread = {name: f"{metrics[name].mean():.4f} ± {metrics[name].std():.4f}" for name in metrics}
        rows.append({"runs": ", ".join(run.name for run in group), "seeds": len(group)} | spread)
    return pd.DataFrame(rows)


def _network_seeds(run: RunSummary) -> set[int]:
    """The seeds of a run's networks."""
    first = int(run.recipe.get("training.seed", 0))
    return set(range(first, first + int(run.recipe.get("training.seeds", 1))))


def difference_table(runs: Sequence[RunSummary]) -> pd.DataFrame:
    """The keys in which recipes differ, with each run's value: a row a key, a column a run."""
    texts = {
        run.name: {key: "none" if value is None else str(value) for key, value in run.recipe.items()}
        for run in runs
        if run.recipe
    }
    table = pd.DataFrame(texts).drop(index=list(NOT_COMPARED), errors="ignore").fillna("")
    return table[table.nunique(axis=1) > 1]
