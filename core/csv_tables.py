"""CSV tables: read as people make them, with errors that name the file, and written whole."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from core.errors import UserError
from core.files import atomic_write


def read_rows(path: Path, hint: str, *, tabs_first: bool = False) -> list[tuple[int, list[str]]]:
    """The rows of a UTF-8 table that are not blank, as texts, each with the number of its last line in the file.

    Fields are parted by commas, or where the first line has none, by semicolons or tabs. With `tabs_first`, for tables
    that are no CSVs, tabs are looked for before the others, and where they part fields, quotes mean nothing. Raises
    UserError: no such file (with `hint`), not UTF-8, a zero byte, no CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            first_line = next(filter(str.strip, lines), "")
            delimiter = next((sign for sign in ("\t;," if tabs_first else ",;\t") if sign in first_line), ",")
            lines.seek(0)
            is_plain = tabs_first and delimiter == "\t"
            quoting: Literal[0, 3] = csv.QUOTE_NONE if is_plain else csv.QUOTE_MINIMAL
            reader = csv.reader(lines, strict=True, delimiter=delimiter, quoting=quoting)
            rows = list[tuple[int, list[str]]]()
            for row in reader:
                if "\0" in (text := "".join(row)):  # which the reader takes for a letter
                    where = f"{path} line {reader.line_num}"
                    raise UserError(f"{where} has a zero byte, as damaged files and UTF-16 do: save it as UTF-8")
                if text.strip():
                    rows.append((reader.line_num, row))
            return rows
    except FileNotFoundError:
        raise UserError(f"{path} is not there: {hint}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a CSV ({error}): save it again as a CSV") from None


def read_table(
    path: Path, columns: Iterable[str] = (), hint: str = "check data.folder and data.layout"
) -> pd.DataFrame:
    """Read a UTF-8 CSV with a header as strings, none of which becomes a number or a missing value.

    Its fields are parted as `read_rows` says. Blank rows and columns without a name and a value, are left out. Raises
    UserError: as `read_rows`, a row of another length, one of `columns` missing.
    """
    rows = read_rows(path, hint)
    if not rows:
        raise UserError(f"{path} is empty: it needs a header line and a line a clip")
    header = [name.strip() for name in rows.pop(0)[1]]
    if missing := [name for name in columns if name not in header]:
        raise UserError(
            f"{path} has no column {', '.join(missing)}, only {' and '.join(header)}: "
            "name it in the header, and part columns by commas, semicolons or tabs"
        )
    for line, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{path} line {line} ({row[0]!r}) has {len(row)} fields and the header {len(header)}: "
                "put fields that hold a comma in double quotes, with no space before them"
            )
    table = pd.DataFrame([row for _, row in rows], columns=header, dtype="str")
    is_used = [bool(name) or table.iloc[:, column].str.strip().any() for column, name in enumerate(header)]
    table = table.loc[:, is_used]  # spreadsheets save empty columns beside the others
    if table.columns.has_duplicates:
        raise UserError(f"{path} has two columns named {table.columns[table.columns.duplicated()][0]!r}: keep one")
    return table


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a UTF-8 CSV under its final name whole or not at all."""
    texts = [[str(value) for value in row] for row in rows]
    # Python 3.11's writer leaves a lone carriage return unquoted, and a reader takes it for the end of the row.
    bare_return = any("\r" in text for row in texts for text in row)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, quoting=csv.QUOTE_ALL if bare_return else csv.QUOTE_MINIMAL, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(texts)
