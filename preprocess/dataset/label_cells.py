"""The labels in a table's cells, as people join them: by ';', '|' or ',', or as a list of Python or JSON."""

import ast
import re
from collections.abc import Collection, Iterable, Sequence

from core.errors import UserError
from preprocess.dataset.discovery import join_clean_labels, normalize_label
from preprocess.dataset.labels import NEGATIVE, SEPARATOR

LIST = re.compile(r"\[.*\]|[({]\s*['\"].*[)}]", re.DOTALL)
NUMPY_GAP = re.compile(r"(?<=['\"])\s+(?=['\"])")
"""Between two texts of an array as NumPy prints it, which Python would join."""
ADVICE = f"join labels by {SEPARATOR!r}, in double quotes"


def parse_label_cells(
    where: object, names: Iterable[str], cells: Iterable[str], vocabulary: Collection[str] = ()
) -> tuple[list[list[str]], str]:
    """The normalised labels of each cell of a column, and a note of how they are read; '' where that is by ';'.

    A comma joins labels where it is not part of a label of `vocabulary`; without a vocabulary, where no space follows
    any comma, or where all that commas part is found in other cells too. `names` are of the rows, for messages. Raises
    UserError.
    """
    texts, known = list(map(normalize_label, cells)), set(map(normalize_label, vocabulary))
    separators, note = _choose_separators([text for text in set(texts) - known if not LIST.fullmatch(text)], known)
    found = []
    for name, text in zip(names, texts, strict=True):
        is_list = text not in known and LIST.fullmatch(text)
        found.append(_parse_list(f"{where}, {name}", text) if is_list else _split(text, separators, known))
        note = f"labels as {text} are read as lists" if is_list and found[-1] else note
    return found, note and f"{where}: {note}"


def join_label_cells(
    where: object, names: Sequence[str], cells: Sequence[str], vocabulary: Collection[str] = ()
) -> tuple[list[str], str]:
    """The column `labels` of a table of clips from such cells, and the note; a cell such as [] or ';' is NEGATIVE."""
    found, note = parse_label_cells(where, names, cells, vocabulary)
    rows = zip(names, cells, found, strict=True)
    joined = [(join_clean_labels(f"{where}, {name}", labels), cell.strip()) for name, cell, labels in rows]
    return [labels or (NEGATIVE if cell else "") for labels, cell in joined], note


def _choose_separators(texts: Sequence[str], known: Collection[str]) -> tuple[str, str]:
    """What joins labels in cells that are no known label, and a note where it is not ';'."""
    if any(SEPARATOR in text for text in texts):
        return SEPARATOR + ("," if known else ""), ""
    for separator in "|,":
        joined = sorted(text for text in texts if separator in text)
        if joined and (separator == "|" or known or _is_joined_by_commas(joined, texts)):
            return separator, f"labels are joined by {separator!r}: {joined[0]!r} is read as several"
        if joined:
            return SEPARATOR, f"{joined[0]!r} is read as one label; {ADVICE}, where it is several"
    return SEPARATOR, ""


def _is_joined_by_commas(joined: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether commas join labels in these cells, rather than being part of them."""
    if not any(re.search(r",\s", text) for text in joined):
        return True
    cells = [frozenset(map(str.strip, text.split(","))) for text in texts]
    return all(sum(part in cell for cell in cells) > 1 for text in joined for part in map(str.strip, text.split(",")))


def _split(text: str, separators: str, known: Collection[str]) -> list[str]:
    """The labels of a cell: parts of known labels are not taken apart."""
    parts = [text]
    for separator in separators:
        parts = [piece for part in parts for piece in ([part] if part.strip() in known else part.split(separator))]
    return [label for part in parts if (label := normalize_label(part))]


def _parse_list(where: str, text: str) -> list[str]:
    """The labels of a cell that is written as a list. Raises UserError."""
    try:
        values = ast.literal_eval(NUMPY_GAP.sub(", ", text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # TypeError: a set of lists
        values = [part.strip(" '\"") for part in text[1:-1].split(",")]
    labels = sorted(values, key=str) if isinstance(values, set) else values  # whose order is another in each process
    if not isinstance(labels, list | tuple) or not all(isinstance(label, str | int | float) for label in labels):
        raise UserError(f"{where}: labels {text} are no list of words: {ADVICE}")
    return [name for label in labels if (name := normalize_label(str(label)))]
