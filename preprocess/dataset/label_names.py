"""What people call labels: names for the codes of a dataset."""

from collections.abc import Sequence

from preprocess.dataset.discovery import normalize_label
from recipe import Data

IRMAS_NAMES = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "acoustic guitar",
    "gel": "electric guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
"""Bosch et al. 2012; voice is a singer's."""


def name_labels(labels: Sequence[str], data: Data) -> dict[str, str]:
    """A name for each label: the recipe's, that of the layout, or the label."""
    named = {normalize_label(label): name for label, name in (data.label_names or {}).items()}
    names = (IRMAS_NAMES if data.layout == "irmas" else {}) | named
    return {label: names.get(label, label) for label in labels}


def describe_unknown_labels(labels: Sequence[str], data: Data) -> list[str]:
    """A line for each of `data.label_names` and `label_icons` that names a label which is not one of `labels`."""
    lines = []
    for key, texts in (("data.label_names", data.label_names), ("data.label_icons", data.label_icons)):
        unknown = [label for label in texts or {} if normalize_label(label) not in labels]
        if unknown:
            others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            lines.append(f"{key} names {unknown[0]!r}{others}: no such label here; correct it, or leave it out")
    return lines
