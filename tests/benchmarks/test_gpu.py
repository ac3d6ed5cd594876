"""make bench-gpu, at toy size on a CPU: every part has its lines, a part that fails too, and nothing is left."""

import re
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from benchmarks import gpu
from core.errors import UserError

TINY = ["--device", "cpu", "--tiny"]


def test_every_part_has_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpu, "EPOCH_TURNS", 1)
    gpu.main(TINY)
    table = capsys.readouterr().out.rpartition("\n\n")[2]
    assert re.search(r"^tests that need a GPU +\d+ (skipped|passed)", table, re.M), table
    for precision in ("bfloat16", "float16", "float32"):
        for place in ("on the device", "in host memory", "in the file"):
            assert re.search(
                rf"^epoch of 9 clips, {precision}, frames {place} +[\d.]+ s, [\d.]+ of a const", table, re.M
            )
        assert re.search(rf"^arithmetic, {precision} +\S+ TFLOP/s, [\d.]+% of the", table, re.M)
        assert re.search(rf"^peak memory, {precision} +\d+ MB", table, re.M)
    scale = re.search(r"^loss after 2 epochs, float16 +[\d.]+, scale (\d+)", table, re.M)
    assert scale and int(scale[1]) > 1
    for mode in ("exact", "dense"):
        assert re.search(rf"^prediction, {mode} +\d+ windows/s", table, re.M)
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("CUDA error\nand more")

    for name in ("run_tests", "time_prediction"):
        monkeypatch.setattr(gpu, name, fail)
    monkeypatch.setattr(gpu, "time_training", lambda *given: [(f"epoch, {given[-1]}", "1 s")])
    with pytest.raises(UserError, match=r"^failed: tests, prediction "):
        gpu.main(TINY)
    printed = capsys.readouterr().out
    assert re.search(r"^tests +FAILED: RuntimeError: CUDA error$", printed, re.M)
    assert re.search(r"^epoch, float16 +1 s$", printed, re.M)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_ends_in_a_line() -> None:
    with pytest.raises(UserError, match=r"^there is no GPU of CUDA here; --device cpu --tiny tries the script without"):
        gpu.main([])
