"""When a recording began, by its header or its name: what recorders write of it."""

import io
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from preprocess.audio.wav_header import iter_chunks

MIN_YEAR, MAX_YEAR = 1990, 2099
"""Years beyond these are of clocks that were never set."""
HEX_RANGE = range(0x58683680, 0x7FFFFFFF)
"""Seconds since 1970 that are a file's name, from 2017 on, when the first AudioMoths were sold."""
MAX_CHUNK_BYTES = 1 << 16
"""Of a chunk of text: longer ones are not read."""

ZONE = r"(?P<zone>Z(?![A-Za-z])|[+-]\d{2}:?\d{2})?"
HEX_NAME = re.compile(r"[0-9A-F]{8}")
TIME_IN_NAME = re.compile(
    r"(?<!\d)(?P<date>\d{8}|\d{4}-\d\d-\d\d)[_T$ -](?P<time>\d{6}|\d\d[-:]\d\d[-:]\d\d)" + ZONE + r"(?!\d)", re.ASCII
)
ISO_TIME = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,9})?" + ZONE, re.ASCII)
AUDIOMOTH_COMMENT = re.compile(
    r"Recorded at (?P<time>\d\d:\d\d:\d\d)(?:\.\d+)? (?P<date>\d\d/\d\d/\d{4})"
    r"(?: \((?P<utc>UTC)(?P<hours>[+-]\d{1,2})?(?::(?P<minutes>\d\d))?\))?",
    re.ASCII,
)


def find_start_times(recordings: Mapping[str, Path], clips: Iterable[str]) -> dict[str, datetime]:
    """When the recordings of `clips` began, where it is known; one that is not there has its name alone."""
    found = dict[str, datetime | None]()
    for clip in clips:
        path = recordings[clip]
        try:
            with FileIO(path) as file:
                found[clip] = find_start_time(file, path.name)
        except (OSError, ValueError):
            found[clip] = parse_name(path.name)
    return {clip: time for clip, time in found.items() if time}


def find_start_time(file: BinaryIO, name: str) -> datetime | None:
    """When a recording began, with an offset from UTC where it is known; None where no time is known.

    GUANO and the comment of AudioMoths win over the name. The name wins over bext, which editors write anew.
    """
    found, head = dict[bytes, datetime](), file.read(12)
    is_wav = head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE"
    for chunk, start, size, _ in iter_chunks(file, 12) if is_wav else ():
        parse = PARSERS.get(chunk)
        if parse and chunk not in found and size <= MAX_CHUNK_BYTES:
            file.seek(start)
            content = file.read(size)
            time = parse(content) if len(content) == size else None
            found |= {chunk: time} if time else {}
    return found.get(b"guan") or found.get(b"LIST") or parse_name(name) or found.get(b"bext")


def parse_name(name: str) -> datetime | None:
    """The first possible time in a file's name.

    AudioMoth: `5E90A4D4.WAV` (seconds in UTC) and `20200410_163000.WAV`; Song Meter: `A_0+1_20200410$163000.wav`; also
    `2020-04-10T16-30-00`. `Z` or `+0200` behind a time is its zone; other names do not tell it.

    >>> parse_name("S4A01_20200410_163000.wav").isoformat()
    '2020-04-10T16:30:00'
    """
    stem, dot, suffix = name.rpartition(".")
    if suffix == "WAV" and HEX_NAME.fullmatch(stem) and int(stem, 16) in HEX_RANGE:
        return datetime.fromtimestamp(int(stem, 16), UTC)
    for found in TIME_IN_NAME.finditer(stem if dot else name):
        digits = re.sub(r"\D", "", found["date"] + found["time"])
        if time := _make_time(digits, "%Y%m%d%H%M%S", _parse_zone(found["zone"])):
            return time
    return None


def parse_guano(content: bytes) -> datetime | None:
    """The `Timestamp` of GUANO's lines (github.com/riggsd/guano-spec)."""
    for line in content.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Timestamp" and (iso := ISO_TIME.fullmatch(value.strip(" \t\0"))):
            time = _make_time(f"{iso['date']} {iso['time']}", "%Y-%m-%d %H:%M:%S", _parse_zone(iso["zone"]))
            return time and time + timedelta(seconds=float(iso["fraction"] or 0))
    return None


def parse_info_list(content: bytes) -> datetime | None:
    """The time in the comment of AudioMoths: `Recorded at 16:30:00 10/04/2020 (UTC+1) by AudioMoth …`."""
    if content[:4] != b"INFO":
        return None
    for name, start, size, _ in iter_chunks(io.BytesIO(content), 4):
        found = AUDIOMOTH_COMMENT.match(content[start : start + size].decode("ascii", "replace"))
        if name == b"ICMT" and found and start + size <= len(content):
            zone = _make_zone(found["hours"] or "+0", found["minutes"] or "00") if found["utc"] else None
            return _make_time(f"{found['date']} {found['time']}", "%d/%m/%Y %H:%M:%S", zone)
    return None


def parse_bext(content: bytes) -> datetime | None:
    """OriginationDate and OriginationTime (EBU Tech 3285), whose separators differ from program to program."""
    numbers = re.fullmatch(rb"(\d{4})\D(\d\d)\D(\d\d)(\d\d)\D(\d\d)\D(\d\d)", content[320:338], re.DOTALL)
    return _make_time(b"".join(numbers.groups()).decode(), "%Y%m%d%H%M%S", None) if numbers else None


PARSERS = {b"guan": parse_guano, b"LIST": parse_info_list, b"bext": parse_bext}


def format_times(start: datetime | None, *seconds: float) -> list[str]:
    """ISO 8601 of the moments so many seconds after `start`, to the millisecond; empty where it is not known."""
    moments = [start + timedelta(seconds=round(each, 3)) for each in seconds] if start else []
    return [each.isoformat(timespec="milliseconds") for each in moments] or [""] * len(seconds)


def _parse_zone(text: str | None) -> timezone | None:
    if not text:
        return None
    return UTC if text == "Z" else _make_zone(text[:3], text[-2:])


def _make_zone(hours: str, minutes: str) -> timezone | None:
    """A zone of whole quarters of an hour; None for an offset that no place on earth has."""
    sign = -1 if hours.startswith("-") else 1
    offset_min = sign * (abs(int(hours)) * 60 + int(minutes))
    is_possible = -12 * 60 <= offset_min <= 14 * 60 and int(minutes) in (0, 15, 30, 45)
    return timezone(timedelta(minutes=offset_min)) if is_possible else None


def _make_time(text: str, form: str, zone: timezone | None) -> datetime | None:
    """The time that a text says; None for one that never was."""
    try:
        time = datetime.strptime(text, form)
    except ValueError:
        return None
    return time.replace(tzinfo=zone) if MIN_YEAR <= time.year <= MAX_YEAR else None
