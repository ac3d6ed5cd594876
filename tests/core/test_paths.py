"""Where the predictions of recordings that belong to no dataset lie."""

from pathlib import Path

import pytest

from core.paths import RunPaths


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("day 2/09.wav", "09"),
        ("day 2/field trip 2024 é.tar.wav", "field_trip_2024_é.tar"),
        ("day 2", "day_2"),
        ("day 2/", "day_2"),
        ("...wav", "recordings"),
        ("circle.wav", "circle"),
    ],
)
def test_folders_of_inputs_are_named_by_the_recording_or_the_folder(tmp_path: Path, source: str, name: str) -> None:
    (tmp_path / "day 2").mkdir()
    (tmp_path / "circle.wav").symlink_to(tmp_path / "circle.wav")
    run_paths = RunPaths(tmp_path / "cache", tmp_path / "submissions", "recipe", "a")
    folder = run_paths.input_dir(tmp_path / source)
    assert folder == run_paths.submission_dir / "inputs" / name
