"""When recordings began: what names and headers say, also hostile ones."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.audio.recording_time import find_start_time, find_start_times, format_times, parse_name
from tests.preprocess.audio.test_wav_header import DATA, chunk, fmt, riff

GUANO = b"GUANO|Version: 1.0\nMake: Pettersson\nTimestamp: 2021-07-19T21:10:00.250-02:30\nNote: Timestamp: 1\n"
COMMENT = b"Recorded at 16:30:00 10/04/2020 (UTC-9:30) by AudioMoth 0FE081F80FE081F0 at gain setting 2"


def info(comment: bytes) -> bytes:
    return chunk(b"LIST", b"INFO" + chunk(b"IART", b"AudioMoth") + chunk(b"ICMT", comment + b"\0"))


def bext(date: bytes, time: bytes) -> bytes:
    return chunk(b"bext", b"20200101_000000".ljust(320, b"\0") + date + time + bytes(264))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("5E90A4D4.WAV", "2020-04-10T16:54:44+00:00"),
        ("20200410_163000.WAV", "2020-04-10T16:30:00"),
        ("20200410_163000T.WAV", "2020-04-10T16:30:00"),
        ("SM4-1_20200410_163000.wav", "2020-04-10T16:30:00"),
        ("S4A01_20200410$163000.wav", "2020-04-10T16:30:00"),
        ("S4A01_0+1_20200410_163000_000.wav", "2020-04-10T16:30:00"),
        ("S4A01_A_20200410_163000.wac.flac", "2020-04-10T16:30:00"),
        ("20200410T163000Z.flac", "2020-04-10T16:30:00+00:00"),
        ("20200410T163000+1000_REC.flac", "2020-04-10T16:30:00+10:00"),
        ("20200410T163000-0330.flac", "2020-04-10T16:30:00-03:30"),
        ("site 3 2020-04-10T16-30-00+05:45", "2020-04-10T16:30:00+05:45"),
        ("2020-04-10 16:30:00.ogg", "2020-04-10T16:30:00"),
        ("20200410_163000-0001.wav", "2020-04-10T16:30:00"),  # no zone is a minute from UTC
        ("20200410_163000Zebra.wav", "2020-04-10T16:30:00"),
        ("20200410_163000_20200410_164000.wav", "2020-04-10T16:30:00"),
        ("20201310_163000_20200410_164000.wav", "2020-04-10T16:40:00"),
        ("20200229_235959.wav", "2020-02-29T23:59:59"),
        ("20210229_120000.wav", None),
        ("20200410_250000.wav", None),
        ("20200410_163060.wav", None),
        ("00000000_000000.wav", None),
        ("19700101_000007.wav", None),
        ("120200410_163000.wav", None),
        ("20200410_1630001.wav", None),
        ("0006ae4e.wav", None),
        ("5e90a4d4.wav", None),
        ("5E90A4D4.wav", None),
        ("0006AE4E.WAV", None),
        ("20200410.WAV", None),
        ("1-100032-A-0.wav", None),
        ("٢٠٢٠٠٤١٠_١٦٣٠٠٠.wav", None),
        ("", None),
    ],
)
def test_names_of_recorders_are_read(name: str, expected: str | None) -> None:
    found = parse_name(name)
    assert (found.isoformat() if found else None) == expected


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([chunk(b"guan", GUANO)], "2021-07-19T21:10:00.250000-02:30"),
        ([chunk(b"guan", b"Timestamp: 2021-07-19 21:10:00Z")], "2021-07-19T21:10:00+00:00"),
        ([chunk(b"guan", b"Timestamp:2021-07-19T21:10:07+0100\0\0")], "2021-07-19T21:10:07+01:00"),
        ([chunk(b"guan", b"Timestamp: 2021-02-30T21:10:07")], "2019-05-05T05:05:05"),
        ([chunk(b"guan", b"Timestamp: yesterday\xff")], "2019-05-05T05:05:05"),
        ([chunk(b"guan", b"x" * (1 << 17) + b"\n" + GUANO)], "2019-05-05T05:05:05"),
        ([info(COMMENT)], "2020-04-10T16:30:00-09:30"),
        ([info(b"Recorded at 16:30:00 10/04/2020 (UTC) by AudioMoth 1")], "2020-04-10T16:30:00+00:00"),
        ([info(b"Recorded at 16:30:00.125 10/04/2020 (UTC+1) by AudioMoth 1")], "2020-04-10T16:30:00+01:00"),
        ([info(b"Recorded at 16:30:00 10/04/2020 by AudioMoth 1")], "2020-04-10T16:30:00"),
        ([info(b"Recorded at 16:30:00 10/14/2020 (UTC)")], "2019-05-05T05:05:05"),
        ([info(b"Recorded at 00:00:00 01/01/1970 (UTC)")], "2019-05-05T05:05:05"),
        ([chunk(b"LIST", b"adtl"), info(COMMENT)], "2020-04-10T16:30:00-09:30"),
        ([info(COMMENT), chunk(b"guan", GUANO)], "2021-07-19T21:10:00.250000-02:30"),
        ([bext(b"2020-04-10", b"16:30:00")], "2019-05-05T05:05:05"),  # editors write it anew: the name wins
    ],
)
@pytest.mark.parametrize("is_before", [True, False])
def test_headers_win_over_names_but_for_bext(
    tmp_path: Path, chunks: list[bytes], expected: str, is_before: bool
) -> None:
    path, sound = tmp_path / "20190505_050505.WAV", chunk(b"data", DATA[:64])
    path.write_bytes(riff(fmt(), *((*chunks, sound) if is_before else (sound, *chunks))))
    assert find_start_times({"a": path}, "a")["a"].isoformat() == expected


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        (b"2020-04-10", b"16:30:00", "2020-04-10T16:30:00"),
        (b"2020:04:10", b"16-30-00", "2020-04-10T16:30:00"),
        (b"2020-13-10", b"16:30:00", None),
        (b"0000-00-00", b"00:00:00", None),
        (b"\0" * 10, b"\0" * 8, None),
    ],
)
def test_bext_is_read_where_a_name_tells_nothing(
    tmp_path: Path, date: bytes, time: bytes, expected: str | None
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(fmt(), bext(date, time), chunk(b"data", DATA[:64])))
    found = find_start_times({"a": path}, "a")
    assert {clip: time.isoformat() for clip, time in found.items()} == ({"a": expected} if expected else {})


def test_what_is_no_file_or_no_wav_has_the_time_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "20200410_163000.mp3").write_bytes(b"ID3")
    names = ["20200410_163000.mp3", "away_20200410_163000.wav", "nul\0_20200410_163000.wav"]
    found = find_start_times({name: tmp_path / name for name in names} | {"folder": tmp_path}, [*names, "folder"])
    assert {name: str(time) for name, time in found.items()} == dict.fromkeys(names, "2020-04-10 16:30:00")


WHOLE = riff(fmt(), bext(b"2020-04-10", b"16:30:00"), info(COMMENT), chunk(b"data", DATA[:8]), chunk(b"guan", GUANO))


@given(st.integers(0, len(WHOLE)))
def test_a_truncated_header_is_never_read_wrong(n_bytes: int) -> None:
    found = find_start_time(io.BytesIO(WHOLE[:n_bytes]), "")
    right = ["2021-07-19T21:10:00.250000-02:30", "2020-04-10T16:30:00-09:30", "2020-04-10T16:30:00"]
    assert found is None or found.isoformat() in right
    if n_bytes == len(WHOLE):
        assert found
        assert found.isoformat() == right[0]


@given(st.integers(0, len(GUANO) + len(COMMENT)), st.data())
def test_sizes_that_lie_are_never_read_wrong(size: int, data: st.DataObject) -> None:
    name, content = data.draw(st.sampled_from([(b"guan", GUANO), (b"LIST", info(COMMENT)[8:])]))
    file = riff(fmt(), chunk(name, content[:size]), chunk(b"data", DATA[:8]))
    found = find_start_time(io.BytesIO(file), "")
    assert found is None or f"{found:%Y-%m-%dT%H:%M:%S}" in ("2021-07-19T21:10:00", "2020-04-10T16:30:00")
    assert found is None or found.utcoffset() in (None, timedelta(hours=-2.5), timedelta(hours=-9.5))


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=20))
def test_no_header_raises(content: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(WHOLE)
    for at, value in changes:
        damaged[at] = value
    for file in (bytes(damaged), riff(content), riff(chunk(b"guan", content), info(content), chunk(b"bext", content))):
        find_start_time(io.BytesIO(file), "")


@given(st.text(max_size=40))
def test_no_name_raises(name: str) -> None:
    parse_name(name)


def test_times_are_written_to_the_millisecond_across_midnight() -> None:
    start = parse_name("20201231T235959+0100")
    assert format_times(start, 0, 1.0004, 86_401.5) == [
        "2020-12-31T23:59:59.000+01:00",
        "2021-01-01T00:00:00.000+01:00",
        "2021-01-02T00:00:00.500+01:00",
    ]
    assert format_times(None, 1, 2) == ["", ""]
