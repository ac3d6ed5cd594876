"""Layout `esc50` on a small set of its own."""

from pathlib import Path

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files

ESC50 = "filename,fold,target,category,esc10,src_file,take\n"


def test_esc50_keeps_official_folds_and_sources(tmp_path: Path) -> None:
    table = ESC50 + "1-7-A-0.wav,1,0,dog,True,7,A\n1-7-B-0.wav,1,0,dog,True,7,B\n2-8-A-1.wav,2,1,rain,True,8,A\n"
    dataset = read("esc50", write_files(tmp_path, {"meta/esc50.csv": table, "audio/1-7-A-0.wav": ""}))
    assert columns(dataset.table, "clip", "labels", "fold", "group") == [
        ("1-7-A-0.wav", "dog", 1, "7"),
        ("1-7-B-0.wav", "dog", 1, "7"),
        ("2-8-A-1.wav", "rain", 2, "8"),
    ]
    assert dataset.table["path"].iloc[2] == str(tmp_path / "audio" / "2-8-A-1.wav")


def test_esc50_elsewhere_names_the_file_it_expects(tmp_path: Path) -> None:
    assert_refused("esc50", tmp_path, str(tmp_path / "meta" / "esc50.csv"), "data.folder")
