"""JPEG: ITU-T T.81 annex B; EXIF in an APP1 segment."""

from __future__ import annotations

import re
import struct

from sam3edge.images.headers.exif import Exif, read_exif
from sam3edge.images.headers.header import HeaderError, ImageHeader, check_size

_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""The marker that ends entropy-coded data: neither a stuffed byte nor a restart."""

_MAX_SCANS = 64
"""A progressive file has about ten. Each costs a pass over the whole picture, so thousands of tiny ones are a bomb."""


def recognises(data: bytes) -> bool:
    """Whether the data begin like a JPEG."""
    return data[:3] == b"\xff\xd8\xff"


def read(data: bytes) -> ImageHeader:
    """Walk the segments to the end marker. What follows it (a second picture, a film) is none of our business."""
    view = memoryview(data)
    size: tuple[int, int] | None = None
    exif = Exif()
    scans = 0
    at = 2
    while True:
        marker, at = _marker(data, at)
        if marker == _EOI:
            break
        if marker in _STANDALONE:
            continue
        segment, at = _segment(view, at)
        if marker in _FRAMES:
            if size is not None:
                raise HeaderError("the JPEG has two frame headers")
            size = _frame_size(segment)
        elif marker == _APP1 and bytes(segment[:4]) == b"Exif":
            exif = read_exif(segment)
        elif marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise HeaderError(f"the JPEG has more than {_MAX_SCANS} scans")
            at = _end_of_scan(data, at)
    if size is None or scans == 0:
        raise HeaderError("the JPEG holds no image")
    width, height = size
    return ImageHeader("JPEG", width, height, width * height, exif.orientation, exif.taken_at)


def _marker(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise HeaderError("the JPEG is cut short: it has no end marker")
    if data[at] != 0xFF:
        raise HeaderError(f"the JPEG is damaged: expected a marker at byte {at}, got 0x{data[at]:02x}")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at >= len(data):
        raise HeaderError("the JPEG is cut short: it has no end marker")
    return data[at], at + 1


def _segment(view: memoryview, at: int) -> tuple[memoryview, int]:
    if at + 2 > len(view):
        raise HeaderError("the JPEG is cut short within a segment")
    (length,) = struct.unpack_from(">H", view, at)
    if length < 2 or at + length > len(view):
        raise HeaderError("the JPEG is cut short or damaged within a segment")
    return view[at + 2 : at + length], at + length


def _frame_size(segment: memoryview) -> tuple[int, int]:
    if len(segment) < 6:
        raise HeaderError("the JPEG's frame header is too short")
    height, width = struct.unpack_from(">HH", segment, 1)
    check_size(width, height)
    return width, height


def _end_of_scan(data: bytes, at: int) -> int:
    match = _AFTER_SCAN.search(data, at)
    if match is None:
        raise HeaderError("the JPEG is cut short: it has no end marker")
    return match.start()
