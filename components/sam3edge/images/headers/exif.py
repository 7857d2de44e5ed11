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
_OFFSET_TIME_ORIGINAL = 0x9011
_SUBSEC_TIME_ORIGINAL = 0x9291

_PREFIX = b"Exif\0\0"
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Exif:
    """Attributes: orientation 1..8; taken_at in UTC; orientation_at the bytes that store it within the block."""

    orientation: int = 1
    taken_at: datetime | None = None
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
    return Exif(orientation, _taken_at(reader, directory), at)


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
    """DateTimeOriginal with its sub-seconds; without OffsetTimeOriginal the camera's clock is taken to show UTC."""
    try:
        pointer = directory.get(_EXIF_DIRECTORY)
        if pointer is None:
            return None
        exif = reader.directory(reader.integers(pointer)[0])
        date = _text(reader, exif, _DATE_TIME_ORIGINAL)
        fraction = _text(reader, exif, _SUBSEC_TIME_ORIGINAL)
        moment = datetime.strptime(date, "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc)
        if fraction.isascii() and fraction.isdigit():
            moment += timedelta(seconds=float(f"0.{fraction[:6]}"))
        return moment - _utc_offset(_text(reader, exif, _OFFSET_TIME_ORIGINAL))
    except (HeaderError, IndexError, ValueError, OverflowError):
        return None


def _text(reader: TagReader, directory: dict[int, Entry], tag: int) -> str:
    entry = directory.get(tag)
    return "" if entry is None else reader.text(entry).strip()


def _utc_offset(text: str) -> timedelta:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return timedelta(0)
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset
