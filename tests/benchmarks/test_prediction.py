"""The benchmarks of prediction print what they claim to, and compare what they say."""

import re

import pytest

from benchmarks import prediction, tta
from benchmarks.prediction import split_cores
from core.errors import UserError
from tests.predict.conftest import TinyRun

SHORT = ["--jobs", "1", "--device", "cpu"]


def test_speed_and_agreement_are_printed(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--minutes", "0.2", "--recordings", "3", "--rounds", "1", "--features.n_bins", "24"]
    prediction.main([*tiny_run.arguments, *SHORT, *few])
    out = capsys.readouterr().out
    assert re.search(r"^exact +[\d.]+ windows/s +1\.00 x exact$", out, flags=re.M)
    assert re.search(r"^dense +[\d.]+ windows/s", out, flags=re.M)
    for name in ("decoding and features, 1 of 1 cores", "networks, 1 of 1 cores", "files to CSVs, 1 cores"):
        assert re.search(rf"^{name} +[\d.]+ recordings of 10 s/s$", out, flags=re.M), out
    assert re.search(r"files to CSVs: [\d.]+ x the slower alone", out)
    assert re.search(r"files to CSVs: [\d.]+ x both in turn on all cores", out)
    for clips in ("6 out-of-fold clips", "6 test clips"):
        assert re.search(
            rf"^{clips}, windows of 3 s every 1 s: exact lwlrap [\d.]+.*dense [\d.]+ \([+-]", out, flags=re.M
        )


@pytest.mark.parametrize("option", ["--jobs 0", "--minutes 0", "--recordings 0", "--networks 0", "--rounds 0"])
def test_options_that_cannot_be_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=f"(?s){option.removeprefix('--').split()[0]}.* does not conform"):
        prediction.main(option.split())


def test_every_tta_variant_has_a_line_of_both_kinds_of_clips(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    tta.main([*tiny_run.arguments, *SHORT])
    out = capsys.readouterr().out
    names = ["as it is", "shifted 0.125 s either way", "6 dB quieter and louder", "both"]
    names += ["a window every 0.125 s", "networks by geometric mean", "pooling max"]
    for clips in ("6 out-of-fold clips", "6 test clips"):
        for name in names:
            assert re.search(rf"^{clips} +{name} +lwlrap [\d.]+ \([+-][\d.]+\)  mAP ", out, flags=re.M), (name, out)


def test_tta_without_a_run_say_what_to_do(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="make train"):
        tta.main([*tiny_run.arguments, *SHORT, "--run", "other"])


@pytest.mark.parametrize(
    ("n_cores", "decode_rate", "score_rate", "n_decoding_cores"),
    [(1, 10.0, 20.0, 1), (2, 10.0, 90.0, 1), (8, 10.0, 10.0, 4), (8, 30.0, 10.0, 2), (16, 1.0, 100.0, 15)],
)
def test_cores_are_shared_so_that_the_slower_stage_is_the_fastest(
    n_cores: int, decode_rate: float, score_rate: float, n_decoding_cores: int
) -> None:
    assert split_cores(n_cores, decode_rate, score_rate) == n_decoding_cores
