"""What ends a script: one line and a status for what users can mend, a traceback for mistakes of ours."""

from collections.abc import Callable
from typing import NoReturn

import pytest
import torch

from errors import BadInput, run_script


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """A script that ends so."""

    def main() -> NoReturn:
        raise error

    return main


def fill_memory() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("main", "status", "line"),
    [
        (raising(BadInput("no\n such file")), 2, "earmark: no such file"),
        (raising(OSError(28, "No space left on device", "a.csv")), 2, "earmark: a.csv: No space left on device; make "),
        (raising(KeyboardInterrupt()), 130, "earmark: interrupted; "),
        (raising(MemoryError()), 2, "earmark: too little memory (of this machine): end what else fills it, "),
        (raising(torch.OutOfMemoryError("CUDA out of memory.\nSee")), 2, "earmark: too little memory (CUDA out of mem"),
        (fill_memory, 2, "earmark: too little memory ("),
        (lambda: 1, 1, ""),
        (lambda: None, 0, ""),
    ],
)
def test_a_script_ends_in_one_line(
    main: Callable[[], int | None], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    said = capsys.readouterr().err
    assert ended.value.code == status
    assert said.startswith(line)
    assert said.count("\n") == bool(line)


def test_mistakes_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run_script(raising(RuntimeError("shapes cannot be multiplied")))
