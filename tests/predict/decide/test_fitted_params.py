"""thresholds.json: read back as written, ignored for other windows, refused where it is damaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.paths import THRESHOLDS_NAME
from predict.decide.fitted_params import (
    read_params,
    read_temperatures,
    read_thresholds,
    with_window_threshold,
    write_params,
    write_thresholds,
)
from recipe import Prediction

LABELS = ["rain", "雨, heavy"]
VALUES = np.array([0.25, 0.75], np.float32)


def test_a_run_without_thresholds_decides_at_a_half(tmp_path: Path) -> None:
    thresholds = read_thresholds(tmp_path, LABELS, Prediction())
    assert thresholds.values.tolist() == [0.5, 0.5]
    assert thresholds.decide(np.array([[0.5, 0.49]], np.float32)).tolist() == [[True, False]]
    votes = read_thresholds(tmp_path, LABELS, Prediction(pooling="vote_fraction"))
    half = 0.999 * 0.5 + 0.001 * 0.3  # half of the windows, and a mean of 0.3
    assert votes.decide(np.array([[half, 0.4994]], np.float32)).tolist() == [[True, False]]


def test_thresholds_read_back_in_the_order_of_the_labels(tmp_path: Path) -> None:
    path = write_thresholds(tmp_path, LABELS, VALUES, Prediction(), {"metric": "f1_micro"})
    thresholds = read_thresholds(tmp_path, LABELS[::-1], Prediction())
    assert thresholds.values.tolist() == [0.75, 0.25]
    assert thresholds.source == str(path)


def test_thresholds_near_0_and_1_are_kept_to_the_bit(tmp_path: Path) -> None:
    values = np.array([4.15e-7, 0.999999404], np.float32)
    write_thresholds(tmp_path, LABELS, values, Prediction(), {})
    assert read_thresholds(tmp_path, LABELS, Prediction()).values.tolist() == values.tolist()


def test_a_tuned_window_threshold_is_taken_over_where_windows_are_shares(tmp_path: Path) -> None:
    vote_fraction = Prediction(pooling="vote_fraction")
    write_thresholds(tmp_path, LABELS, VALUES, replace(vote_fraction, window_threshold=0.3), {})
    assert with_window_threshold(tmp_path, vote_fraction).window_threshold == 0.3
    assert read_thresholds(tmp_path, LABELS, vote_fraction).values.tolist() == VALUES.tolist()
    other = Prediction(pooling="vote_fraction", hop_seconds=0.5)
    assert with_window_threshold(tmp_path, other) == replace(other, window_threshold=0.5)
    given = replace(vote_fraction, window_threshold=0.4)
    assert with_window_threshold(tmp_path, given) == given
    assert "is for prediction.window_threshold 0.3" in read_thresholds(tmp_path, LABELS, given).source
    assert "prediction.hop_seconds 1.0" in read_thresholds(tmp_path, LABELS, other).source


def test_shares_of_windows_are_not_calibrated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pooling = vote_fraction: .*no probability to calibrate; use another pooling"):
        read_temperatures(tmp_path, Prediction(pooling="vote_fraction", calibrate=True))


def test_a_file_that_is_not_as_it_was_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_thresholds(tmp_path, LABELS, VALUES, Prediction(), {})
    content = path.read_bytes()
    read_thresholds(tmp_path, LABELS, Prediction())
    assert not capsys.readouterr().err
    path.write_bytes(content.replace(b"0.25", b"0.29"))
    for _ in range(2):
        assert read_thresholds(tmp_path, LABELS, Prediction()).values[0] == np.float32(0.29)
    warning = f"warning: {path} is not as make tune wrote it: what it says now is used; remove its checksum if it may\n"
    assert capsys.readouterr().err == warning


def test_a_file_of_any_size_is_read_as_it_was_written(tmp_path: Path) -> None:
    """provenance.json has a digest of each exported file."""
    path, content = tmp_path / "provenance.json", {"exports": {"raven": ["a" * (1 << 25)]}, "prediction": {}}
    write_params(path, content)
    assert read_params(path, {"exports": dict}, "make predict") == content


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"thresholds": 3}',
        '{"thresholds": {"rain": 0.5}}',
        '{"thresholds": {"rain": "x", "雨, heavy": 1}}',
        '{"thresholds": {"rain": null, "雨, heavy": 1}}',
        '{"thresholds": {"rain": NaN, "雨, heavy": 1}}',
        '{"thresholds": {"rain": 7, "雨, heavy": 1}}',
        '{"thresholds": {"rain": 0.5, "雨, heavy": 1}, "prediction": []}',
        "[" * 100_000,
        '{"thresholds": ' * 5_000,
        '{"thresholds": {"rain": 1' + "0" * 6_000 + "}}",
    ],
)
def test_a_file_that_is_no_table_of_thresholds_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / THRESHOLDS_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"thresholds\.json.*make tune"):
        read_thresholds(tmp_path, LABELS, Prediction())
