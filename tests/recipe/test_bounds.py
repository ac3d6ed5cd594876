"""Values of a recipe that are out of bounds, or missing, are refused by their key."""

from dataclasses import fields
from pathlib import Path

import pytest

from core.errors import UserError
from recipe import SECTIONS
from recipe.cli import parse_command


def test_a_key_that_is_left_blank_is_refused_unless_it_may_be_none(tmp_path: Path) -> None:
    refused = set[str]()
    for section, kind in SECTIONS.items():
        for field in fields(kind):
            try:
                kind(**{field.name: None})
            except UserError as error:
                assert str(error) == f"{section}.{field.name} has no value: write one, or leave the key out"
                refused.add(f"{section}.{field.name}")
    assert {"features.sample_rate_hz", "training.epochs", "training.max_lr", "features.pitch_shifts"} <= refused
    assert refused.isdisjoint({"data.labels", "features.top_db", "training.stages", "prediction.threshold"})
    (tmp_path / "birds.yaml").write_text("training:\n  epochs:   # 3\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"training\.epochs has no value"):
        parse_command(["--recipe", str(tmp_path / "birds.yaml")], "test")


@pytest.mark.parametrize(("key", "value"), [("data.folds", "1"), ("features.top_db", ".nan"), ("training.warmup", "2")])
def test_a_number_out_of_bounds_is_refused(key: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"{key} = .*: must be between"):
        parse_command([f"--{key}", value], "test")
