"""The log of a fold: a CSV with a row an epoch, and TensorBoard's files on request."""

from core.entrypoint import log_warning

import shlex
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError

LOG_NAME = "log.csv"


def count_logged_epochs(log_dir: Path) -> int:
    """Epochs in a fold's log; 0 where there is none."""
    path = log_dir / LOG_NAME
    return len(read_table(path, ["epoch"])) if path.exists() else 0


def warn_if_interrupted(path: Path, n_epochs: int) -> None:
    """Warn of a network, by its checkpoint, whose training was interrupted, or still goes on."""
    done = count_logged_epochs(path.parent)
    if 0 < done < n_epochs:
        log_warning(
            f"{path} has {done} of {n_epochs} epochs and is used anyway: make train finishes it, "
            "deleting its folder leaves it out"
        )


def read_log(log_dir: Path, epoch: int) -> list[dict[str, Any]]:
    """The rows of a fold's log up to `epoch`. Raises UserError where a spreadsheet, say, has changed their numbers."""
    path = log_dir / LOG_NAME
    logged = read_table(path, ["epoch"], hint="train without --resume")
    if list(logged["epoch"][:epoch]) != [str(number) for number in range(1, epoch + 1)]:
        raise UserError(
            f"{path}: its epochs are no longer 1 to {epoch}: put it back as it was, or train without --resume"
        )
    return [dict(zip(logged.columns, row, strict=True)) for row in logged[:epoch].itertuples(index=False)]


def read_logs(run_dir: Path) -> dict[str, pd.DataFrame]:
    """The logs of a run's networks, by their folders' names: a row an epoch, columns of numbers. Raises UserError."""
    logs = {}
    for path in sorted(run_dir.glob(f"fold*/{LOG_NAME}")):
        try:
            # A score of clips without labels is nan, which to_numeric refuses.
            logs[path.parent.name] = read_table(path, ["epoch"]).replace("nan", "").apply(pd.to_numeric)
        except ValueError as error:
            raise UserError(f"{path} holds a value that is no number ({error}): put it back as it was") from None
    return logs


def sum_minutes(logs: Iterable[pd.DataFrame]) -> float:
    """Minutes of training and validation, those of all networks added."""
    return float(sum(log.get(name, pd.Series()).sum() for log in logs for name in ("train_s", "val_s"))) / 60


def describe_epoch_choice(run_dir: Path, metric: str) -> list[str]:
    """What a reader must know of a run's scores: how epochs were chosen, and what the best ones by the fold would give.

    The latter is what many publications report: the mean over networks of each one's best epoch by its own fold.
    """
    logs = [log for log in read_logs(run_dir).values() if "lwlrap" in log]  # others have had no validation yet
    names = [name for name in ("accuracy", "lwlrap") if logs and all(name in log for log in logs)]
    means = [f"{name} {pd.Series([log[name].max() for log in logs]).mean():.4f}" for name in names]
    too_high = "chosen by the clips it is scored on, so too high"
    lines = [f"best epoch by this fold, as others report it: {', '.join(means)} ({too_high})"] if means else []
    return lines if metric == "last" else [f"training.metric = {metric}: each network's epoch was {too_high}", *lines]


def import_summary_writer() -> Any:
    """TensorBoard's own writer. Raises UserError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        command = f"{shlex.quote(sys.executable)} -m pip install tensorboard"
        raise UserError(f"--tensorboard: TensorBoard is not installed, run {command}") from None
    return SummaryWriter


class EpochLog(AbstractContextManager["EpochLog"]):
    """log.csv in `log_dir`, rewritten with every row; the rows up to `epoch` are kept from before."""

    def __init__(self, log_dir: Path, epoch: int = 0, *, tensorboard: bool = False) -> None:
        self.path = log_dir / LOG_NAME
        self.rows = read_log(log_dir, epoch) if epoch else []
        self._writer = None
        if tensorboard:
            self._writer = import_summary_writer()(str(log_dir / "tensorboard"), purge_step=epoch + 1)

    def add(self, row: dict[str, Any]) -> None:
        """Add an epoch's numbers, its `epoch` among them."""
        self.rows.append({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
        columns = max(self.rows, key=len)  # an epoch without validation has fewer
        write_table(self.path, list(columns), ([each.get(key, "") for key in columns] for each in self.rows))
        if self._writer:
            for key, value in row.items():
                self._writer.add_scalar(key, value, row["epoch"])
            self._writer.flush()

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()
