"""Small made-up datasets on disk, and what their layouts make of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.errors import UserError
from preprocess.dataset.loader import Dataset, read_dataset
from recipe import Data


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write text files below `folder`; a recording's content does not matter to a layout."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(layout: Any, folder: Path, **keys: Any) -> Dataset:
    return read_dataset(Data(layout=layout, folder=str(folder), **{"folds": 2, **keys}))


def columns(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(table[list(names)].itertuples(index=False, name=None))


def assert_refused(layout: str, folder: Path, *words: str, **keys: Any) -> None:
    """The layout is refused in one line that holds `words`."""
    with pytest.raises(UserError) as caught:
        read(layout, folder, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
