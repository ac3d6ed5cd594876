"""What people call labels: names for the codes of a dataset."""

from collections.abc import Sequence

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
    names = (IRMAS_NAMES if data.layout == "irmas" else {}) | (data.label_names or {})
    return {label: names.get(label, label) for label in labels}
