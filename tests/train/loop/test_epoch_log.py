"""The log of a fold is whole after every row, and forgets epochs that are done again."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from core.errors import UserError
from train.loop.epoch_log import EpochLog, describe_epoch_choice, read_log, read_logs


def test_a_row_an_epoch(tmp_path: Path) -> None:
    with EpochLog(tmp_path) as log:
        for epoch in (1, 2):
            log.add({"epoch": epoch, "train_loss": 1 / epoch, "lr": 1e-3})
            assert pd.read_csv(tmp_path / "log.csv")["epoch"].tolist() == list(range(1, epoch + 1))


def test_going_on_drops_the_epochs_that_come_again(tmp_path: Path) -> None:
    with EpochLog(tmp_path) as log:
        for epoch in (1, 2, 3):
            log.add({"epoch": epoch, "train_loss": 0.5})
    with EpochLog(tmp_path, 2) as log:
        log.add({"epoch": 3, "train_loss": 0.25})
    table = pd.read_csv(tmp_path / "log.csv")
    assert table["train_loss"].tolist() == [0.5, 0.5, 0.25]


def test_a_log_that_has_gained_a_column_fills_it_up(tmp_path: Path) -> None:
    with EpochLog(tmp_path) as log:
        log.add({"epoch": 1, "train_loss": 0.5})
    with EpochLog(tmp_path, 1) as log:
        log.add({"epoch": 2, "train_loss": 0.25, "map": 0.75})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["epoch,train_loss,map", "1,0.5,", "2,0.25,0.75"]


@pytest.mark.parametrize(
    "text", ["epoch,lr\n1.0,0.1\n2.0,0.1\n", "epoch;lr\n1;0,1\n", "epoch,lr\n1,0.1\n", "epoch,lr\n2,1\n1,1\n"]
)
def test_a_log_that_a_spreadsheet_has_changed_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=r"log\.csv"):
        read_log(tmp_path, 2)


def test_logs_are_read_as_numbers_by_network(tmp_path: Path) -> None:
    for network in ("fold0", "fold1_seed1"):
        (tmp_path / network).mkdir()
        (tmp_path / network / "log.csv").write_text("epoch,lr,map\n1,0.1,\n")
    logs = read_logs(tmp_path)
    assert list(logs) == ["fold0", "fold1_seed1"]
    assert logs["fold0"].fillna(-1).to_numpy().tolist() == [[1, 0.1, -1]]
    (tmp_path / "fold0" / "log.csv").write_text("epoch,lr\n1,low\n")
    with pytest.raises(UserError, match=r"fold0.log\.csv holds a value that is no number"):
        read_logs(tmp_path)


def test_networks_without_a_validation_or_a_score_have_no_part_in_the_best_epochs(tmp_path: Path) -> None:
    for network, scores in (("fold0", None), ("fold1", ["", "0.5", "0.25"]), ("fold2", ["", "nan", "nan"])):
        with EpochLog(tmp_path / network) as log:
            for epoch in range(3):
                log.add({"epoch": epoch + 1} | ({"lwlrap": scores[epoch]} if scores else {}))
    (line,) = describe_epoch_choice(tmp_path, "last")
    assert "as others report it: lwlrap 0.5000 (" in line


def test_without_tensorboard_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as after make setup alone
    with pytest.raises(UserError, match=re.escape(f"run {sys.executable} -m pip install tensorboard")):
        EpochLog(tmp_path, tensorboard=True)
