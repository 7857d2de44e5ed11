"""The two things that EXIF knows and the flow needs: which way is up, and when the light fell in.

EXIF 2.32 (CIPA DC-008). Damaged EXIF is ignored rather than a reason to refuse an image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from sam3edge.images.headers.header import HeaderError
from sam3edge.images.headers.ifd import Entry, TagReader

_ORIENTATION = 0x0112
_EXIF_DIRECTORY = 0x8769
_DATE_TIME_ORIGINAL = 0x9003
_OFFSET_TIME = 0x9010
_OFFSET_TIME_ORIGINAL = 0x9011
_GPS_DIRECTORY = 0x8825
_GPS_TIME = 0x0007
_GPS_DATE = 0x001D
_SUBSEC_TIME_ORIGINAL = 0x9291

_PREFIX = b"Exif\0\0"
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Exif:
    """Attributes: orientation 1..8; taken_at aware, or naive where no offset to UTC is named; by_gps whether it is the
    time of a satellite; orientation_at the bytes that store the orientation within the block."""

    orientation: int = 1
    taken_at: datetime | None = None
    by_gps: bool = False
    orientation_at: slice | None = None


def read_exif(block: memoryview) -> Exif:
    """Read an EXIF block, with or without the ``Exif`` prefix that JPEG puts before it."""
    if bytes(block[: len(_PREFIX)]) == _PREFIX:
        block = block[len(_PREFIX) :]
    try:
        reader = TagReader(block)
        return from_directory(reader, reader.first_directory())
    except HeaderError:
        return Exif()


def from_directory(reader: TagReader, directory: dict[int, Entry]) -> Exif:
    """The same from a directory already read (a TIFF file carries EXIF in its own)."""
    orientation, at = _orientation(reader, directory)
    by_satellite = _gps_time(reader, directory)
    return Exif(orientation, by_satellite or _taken_at(reader, directory), by_satellite is not None, at)


def _orientation(reader: TagReader, directory: dict[int, Entry]) -> tuple[int, slice | None]:
    entry = directory.get(_ORIENTATION)
    if entry is None:
        return 1, None
    try:
        values = reader.integers(entry)
    except HeaderError:
        return 1, None
    return (values[0] if values and 1 <= values[0] <= 8 else 1), entry.first


def _taken_at(reader: TagReader, directory: dict[int, Entry]) -> datetime | None:
    """DateTimeOriginal with its sub-seconds; aware where OffsetTimeOriginal or OffsetTime names its offset to UTC."""
    try:
        exif = _below(reader, directory[_EXIF_DIRECTORY])
        date = _text(reader, exif, _DATE_TIME_ORIGINAL)
        fraction = _text(reader, exif, _SUBSEC_TIME_ORIGINAL)
        moment = datetime.strptime(date, "%Y:%m:%d %H:%M:%S")
        if fraction.isascii() and fraction.isdigit():
            moment += timedelta(seconds=float(f"0.{fraction[:6]}"))
        offset = _utc_offset(_text(reader, exif, _OFFSET_TIME_ORIGINAL) or _text(reader, exif, _OFFSET_TIME))
        return moment if offset is None else (moment - offset).replace(tzinfo=timezone.utc)
    except (HeaderError, IndexError, KeyError, ValueError, OverflowError):
        return None


def _below(reader: TagReader, pointer: Entry) -> dict[int, Entry]:
    """The directory that an entry points to."""
    return reader.directory(reader.integers(pointer)[0])


def _text(reader: TagReader, directory: dict[int, Entry], tag: int) -> str:
    entry = directory.get(tag)
    return "" if entry is None else reader.text(entry).strip()


def _gps_time(reader: TagReader, directory: dict[int, Entry]) -> datetime | None:
    """GPSDateStamp and GPSTimeStamp, UTC."""
    try:
        gps = _below(reader, directory[_GPS_DIRECTORY])
        hours, minutes, seconds = reader.rationals(gps[_GPS_TIME])
        day = datetime.strptime(_text(reader, gps, _GPS_DATE), "%Y:%m:%d").replace(tzinfo=timezone.utc)
        return day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (HeaderError, IndexError, KeyError, ValueError, OverflowError, ZeroDivisionError):
        return None


def _utc_offset(text: str) -> timedelta | None:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset
