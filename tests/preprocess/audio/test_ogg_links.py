"""Which Ogg files are intact Vorbis, whose samples soundfile then reads."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.audio import ogg_links
from preprocess.audio.decode import decode_blocks
from preprocess.audio.ogg_links import is_intact_vorbis, split_ogg_links

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def vorbis() -> bytes:
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, (RATE_HZ * 4, 2))
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE_HZ, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


def is_intact(content: bytes, path: Path) -> bool:
    path.write_bytes(content)
    with io.FileIO(path) as file:
        (link,) = split_ogg_links(file)
        return is_intact_vorbis(link)


def test_intact_vorbis_has_the_samples_of_soundfile(vorbis: bytes, tmp_path: Path) -> None:
    path, warnings = tmp_path / "a.ogg", list[str]()
    assert is_intact(vorbis, path)
    blocks = list(decode_blocks(path, RATE_HZ, "left", warnings))
    np.testing.assert_array_equal(np.concatenate(blocks), soundfile.read(path, dtype="float32")[0][:, 0])
    assert not warnings


def test_the_search_for_pages_shows_that_the_task_has_not_hung(
    vorbis: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = list[bool]()
    monkeypatch.setattr(ogg_links, "READ_BYTES", 10_000)
    monkeypatch.setattr(ogg_links, "report_progress", lambda: reports.append(True))
    assert is_intact(vorbis, tmp_path / "a.ogg")
    assert len(reports) >= 2 * len(vorbis) // 10_000  # links and checksums


@pytest.fixture(scope="module")
def damaged_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "a.ogg"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_noticed(vorbis: bytes, damaged_path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(6, len(vorbis) - 1))  # the first bytes make it an Ogg file
    bit = data.draw(st.integers(0, 7))
    assert not is_intact(vorbis[:at] + bytes([vorbis[at] ^ 1 << bit]) + vorbis[at + 1 :], damaged_path)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_missing_or_added_bytes_are_noticed(vorbis: bytes, damaged_path: Path, data: st.DataObject) -> None:
    at, stop = sorted(data.draw(st.tuples(*[st.integers(6, len(vorbis))] * 2)))
    filling = data.draw(st.binary(max_size=64))
    damaged = vorbis[:at] + filling + vorbis[stop:]
    if damaged != vorbis:
        assert not is_intact(damaged, damaged_path)


def test_a_whole_page_that_is_missing_is_noticed(vorbis: bytes, damaged_path: Path) -> None:
    pages = [b"OggS" + page for page in vorbis.split(b"OggS")[1:]]
    for missing in range(1, len(pages)):
        assert not is_intact(b"".join(pages[:missing] + pages[missing + 1 :]), damaged_path), missing
