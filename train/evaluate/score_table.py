"""The table of scores: a CSV with a row a clip and a probability a label, written, read back and checked."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.csv_tables import read_table, write_table
from core.errors import UserError


@dataclass(frozen=True)
class ScoreTable:
    """Probabilities `values` float32 `[n_clips, n_labels]`, with the names of their rows and columns."""

    clips: list[str]
    labels: list[str]
    values: np.ndarray

    def without(self, clips: Collection[str]) -> "ScoreTable":
        """The table without the rows of some clips."""
        rows = [row for row, clip in enumerate(self.clips) if clip not in clips]
        return ScoreTable([self.clips[row] for row in rows], self.labels, self.values[rows])


def write_scores(
    path: Path, clips: Sequence[str], labels: Sequence[str], scores: np.ndarray, id_column: str = "clip"
) -> None:
    """Write a table of scores whole or not at all, with nine digits, from which a float32 is read back unchanged.

    Raises UserError where clips repeat or a score is no probability.
    """
    check_scores(path, clips, labels, scores)
    rows = zip(clips, scores.tolist(), strict=True)
    write_table(path, [id_column, *labels], ([clip, *(f"{score:.9g}" for score in row)] for clip, row in rows))


def read_scores(path: Path) -> ScoreTable:
    """Read a table of scores; its first column names the clips. Raises UserError that names the file and the error."""
    table = read_table(path, hint="run make predict first, or name another run")
    clips, labels = table.iloc[:, 0].tolist(), table.columns[1:].tolist()
    if not clips or not labels:
        lacks = "no line below its header" if labels else f"no column but {table.columns[0]!r}"
        raise UserError(f"{path} has {lacks}: a table of scores has a line a clip and a column a label")
    try:
        values = table.iloc[:, 1:].to_numpy().astype(np.float32)
    except ValueError as error:
        raise UserError(f"{path}: every column but the first must hold numbers ({error})") from None
    check_scores(path, clips, labels, values)
    return ScoreTable(clips, labels, values)


def check_scores(path: Path, clips: Sequence[str], labels: Sequence[str], scores: np.ndarray) -> None:
    """Raise UserError unless clips and labels are unique and every score is within [0, 1]."""
    if scores.shape != (len(clips), len(labels)):
        raise UserError(f"{path}: {scores.shape} scores for {len(clips)} clips and {len(labels)} labels")
    for kind, names in (("clip", clips), ("label", labels)):
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise UserError(f"{path}: {kind} {repeated[0]!r} stands in it more than once")
    outside = np.argwhere(~((scores >= 0) & (scores <= 1)))
    if len(outside):
        row, column = outside[0]
        raise UserError(f"{path}: {clips[row]!r}, {labels[column]!r}: {scores[row, column]} is no score within [0, 1]")
