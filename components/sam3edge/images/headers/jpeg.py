"""JPEG: ITU-T T.81 annex B; EXIF in an APP1 segment."""

from __future__ import annotations

import re
import struct

from sam3edge.images.headers.exif import Exif, read_exif
from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated, check_size

_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset((0xC0, 0xC1))
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""The marker that ends entropy-coded data: neither a stuffed byte nor a restart."""

_MAX_SCANS = 64
"""A progressive file has about ten. Each costs a pass over the whole picture, so thousands of tiny ones are a bomb."""


def recognises(data: bytes) -> bool:
    """Whether the data begin like a JPEG."""
    return data[:3] == b"\xff\xd8\xff"


def read(data: bytes) -> ImageHeader:
    """Walk the segments to the end marker. What follows it (a second picture, a film) is ignored.

    Doorbells and cheap cameras leave the end marker out: of a sequential file, ``ImageHeader.ends_at`` says where its
    scan ends then.
    """
    view = memoryview(data)
    size: tuple[int, int] | None = None
    exif = Exif()
    scans, sequential = 0, False
    at, scan_end, ends_at = 2, 0, None
    while True:
        try:
            marker, at = _marker(data, at)
            if marker == _EOI:
                break
            if marker in _STANDALONE:
                continue
            segment, at = _segment(view, at)
        except HeaderError:
            if not scans or not sequential:
                raise
            ends_at = scan_end  # what follows the scan is no JPEG: nothing, or a few bytes of a camera's own
            break
        if marker in _FRAMES:
            if size is not None:
                raise HeaderError("the JPEG has two frame headers")
            size, sequential = _frame_size(segment), marker in _SEQUENTIAL
        elif marker == _APP1 and bytes(segment[:4]) == b"Exif":
            exif = read_exif(segment)
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise HeaderError(f"the JPEG has more than {_MAX_SCANS} scans")
            at = scan_end = _end_of_scan(data, at, sequential)
    if size is None or scans == 0:
        raise HeaderError("the JPEG holds no image")
    width, height = size
    return ImageHeader(
        "JPEG", width, height, width * height, exif.orientation, exif.taken_at, exif.by_gps, ends_at=ends_at
    )


def _marker(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise Truncated("the JPEG is cut short: it has no end marker")
    if not any(data[at : at + 4]):
        raise Truncated(f"the JPEG is cut short: zeros at byte {at}")
    if data[at] != 0xFF:
        raise HeaderError(f"the JPEG is damaged: expected a marker at byte {at}, got 0x{data[at]:02x}")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at >= len(data):
        raise Truncated("the JPEG is cut short: it has no end marker")
    return data[at], at + 1


def _segment(view: memoryview, at: int) -> tuple[memoryview, int]:
    if at + 2 > len(view):
        raise Truncated("the JPEG is cut short within a segment")
    (length,) = struct.unpack_from(">H", view, at)
    if length < 2 or at + length > len(view):
        raise Truncated("the JPEG is cut short or damaged within a segment")
    return view[at + 2 : at + length], at + length


def _frame_size(segment: memoryview) -> tuple[int, int]:
    if len(segment) < 6:
        raise HeaderError("the JPEG's frame header is too short")
    height, width = struct.unpack_from(">HH", segment, 1)
    check_size(width, height)
    return width, height


def _end_of_scan(data: bytes, at: int, sequential: bool) -> int:
    match = _AFTER_SCAN.search(data, at)
    if match is not None:
        return match.start()
    if not sequential:  # further scans may be missing
        raise Truncated("the JPEG is cut short: it has no end marker")
    return len(data)
