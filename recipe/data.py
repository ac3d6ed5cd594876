"""Section `data`: which recordings there are and what is known of them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recipe.bounds import Between, Natural, Section, Share


@dataclass(frozen=True)
class Data(Section):
    """Which recordings there are and what is known of them."""

    layout: Literal["folders", "csv", "esc50", "fsdkaggle2019", "irmas", "notes"] = "folders"
    """How the folder is laid out: a folder a class, a table of labels, as a known dataset is, or named by its notes."""
    folder: str = ""
    """The dataset's folder."""
    table: str | None = None
    """The CSV of layout `csv` (fname,labels[,fold,group,split,trust]); by default labels.csv in the folder."""
    labels: list[str] | None = None
    """The vocabulary, in order; a sample submission's takes its place. By default the dataset's own, or every label
    found, sorted."""
    note_octaves: bool = True
    """Labels of layout `notes`: notes with their octaves (A3), or pitch classes (A)."""
    folds: Annotated[int, Between(2, 100)] = 5
    """Number of folds, where the dataset brings none of its own; groups stay whole, labels are spread evenly."""
    seed: Natural = 0
    """Seed of the folds that are chosen here."""
    irmas_share: Share = 0.0
    """Share of IRMAS's testing parts, whole pieces from the first on, that is for training; the rest is the test."""
