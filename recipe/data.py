"""Section `data`: which recordings there are and what is known of them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recipe.bounds import Bounds, Fraction, NonNegativeInt, Section


@dataclass(frozen=True)
class Data(Section):
    """Which recordings there are and what is known of them."""

    layout: Literal["folders", "csv", "annotations", "audiofolder", "esc50", "fsdkaggle2019", "irmas", "notes"] = (
        "folders"
    )
    """Layout of the folder: a folder a class, a table of labels, tables of labels in time, a known dataset's, or
    recordings named by notes."""
    folder: str = ""
    """The dataset's folder."""
    table: str | None = None
    """The CSV of layout `csv` (fname,labels[,fold,group,split,label_quality]); by default labels.csv in the folder.
    For layout `annotations` a table of events, or a folder of such; by default the tables in or below the folder."""
    columns: dict[str, str] | None = None
    """Columns of such tables, where they are of no known format: {filename: file, start_s: begin, end_s: end, label:
    species}, with duration_s for end_s, and maybe score; some of these keys alone name columns of a known format."""
    labels: list[str] | None = None
    """The vocabulary, in order; by default the sample submission's, the dataset's own, or all labels sorted."""
    label_pattern: str | None = None
    """A regular expression for layout `folders`: what its groups match in a recording's path are its labels; a group
    named `group` says which clips are of one source."""
    group_pattern: str | None = None
    """A regular expression: what its group matches in a recording's path below the folder, as a site or a day, is the
    source that folds keep whole; by default what the layout says, or each recording by itself."""
    background: str = "_background"
    """The folder of layout `folders` whose recordings have none of the labels: negatives for every one of them."""
    unlabelled: str | None = None
    """A folder of recordings without labels, of any layout: `training.teacher` gives them its scores as labels."""
    label_names: dict[str, str] | None = None
    """What pages call labels, as {gac: acoustic guitar}; by default the names of IRMAS's codes, or the labels."""
    label_icons: dict[str, str] | None = None
    """Icons of labels on the page of make serve: an emoji, or the name of an instrument of IRMAS."""
    note_octaves: bool = True
    """Labels of layout `notes`: notes with their octaves (A3), or pitch classes (A)."""
    folds: Annotated[int, Bounds(2, 100)] = 5
    """Number of folds where the dataset has none; groups stay whole, labels are spread evenly."""
    test_share: Fraction = 0.0
    """Share of the curated clips, by whole groups and spread over labels, that is for testing, where no clip is."""
    seed: NonNegativeInt = 0
    """Seed of these folds, and of the test share."""
    irmas_share: Fraction = 0.0
    """Share of IRMAS's testing parts, whole pieces from the first on, that is for training; the rest is for testing."""
    decoder_memory_gb: Annotated[float, Bounds(0.25, 1024)] = 2.0
    """Memory that the process which reads a recording may use, in GiB; a recording that needs more is left out."""
