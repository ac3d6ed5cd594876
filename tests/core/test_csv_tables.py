"""CSV tables: what people's files hold comes back as it is, and what cannot be read is named."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.csv_tables import read_table, write_table
from core.errors import UserError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT).filter(lambda row: any(map(str.strip, row))), min_size=1, max_size=5))
def test_any_text_comes_back(rows: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "any.csv"
    write_table(path, ["a", "b", "c"], rows)
    assert list(read_table(path).itertuples(index=False, name=None)) == rows


def test_what_a_spreadsheet_adds_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("fname,labels,,\na,x,,\n , ,,\n   ,,,\nb,y, ,\n")
    expected = pd.DataFrame({"fname": ["a", "b"], "labels": ["x", "y"]}, dtype="str")
    pd.testing.assert_frame_equal(read_table(path), expected)


def test_nothing_is_taken_for_a_number_or_for_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufefffname,labels\r\n001.wav,NA\r\n\r\nnan,1e5\r\n,\r\n".encode())
    expected = pd.DataFrame({"fname": ["001.wav", "nan"], "labels": ["NA", "1e5"]}, dtype="str")
    pd.testing.assert_frame_equal(read_table(path), expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["there", "the hint"]),
        (b"", ["empty"]),
        (b"\n\n", ["empty"]),
        ("fname,labels\nä,b\n".encode("latin-1"), ["UTF-8"]),
        (b"fname,label\na,b\n", ["no column labels", "fname and label"]),
        (b"fname,labels,labels\na,b,c\n", ["two columns", "'labels'"]),
        (b"fname,labels\na.wav,rain, heavy\n", ["line 2", "'a.wav'", "3 fields", "2", "double quotes"]),
        (b'fname,labels\n"a,b\n', ["CSV"]),
        (b"fname,labels\na,b\nc,d\0\n", ["line 3", "zero byte"]),
        (b"fname,labels\na,b\n" + bytes(9), ["line 3", "zero byte"]),
        ("fname,labels\na,b\n".encode("utf-16"), ["UTF-8"]),
        ("fname,labels\na,b\n".encode("utf-16-le"), ["line 1", "zero byte", "UTF-8"]),
    ],
)
def test_bad_tables_are_named_with_what_to_do(tmp_path: Path, content: bytes | None, words: list[str]) -> None:
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_table(path, ["fname", "labels"], hint="the hint")
    assert all(word in str(caught.value) for word in [str(path), *words]), str(caught.value)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path)
