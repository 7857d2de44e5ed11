"""PNG: https://www.w3.org/TR/png-3/; EXIF in an eXIf chunk."""

from __future__ import annotations

import struct
import zlib

from sam3edge.images.headers.exif import Exif, read_exif
from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated, check_size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEFLATE_AT_BEST = 1032
"""No deflate stream expands further (https://zlib.net/zlib_tech.html)."""


def recognises(data: bytes) -> bool:
    """Whether the data begin like a PNG."""
    return data[:8] == _SIGNATURE


def read(data: bytes) -> ImageHeader:
    """Walk the chunks to IEND, checking the sum of each one that the picture depends on."""
    view = memoryview(data)
    size: tuple[int, int] | None = None
    exif = Exif()
    unpacked = compressed = 0
    at = len(_SIGNATURE)
    while True:
        kind, body, at = _chunk(view, at)
        if size is None:
            if kind != b"IHDR":
                raise HeaderError(f"expected the PNG to begin with IHDR, got {kind!r}")
            size, unpacked = _image_header(body)
        elif kind == b"IDAT":
            compressed += len(body)
        elif kind == b"eXIf":
            exif = read_exif(body)
        elif kind == b"IEND":
            break
    if unpacked > compressed * _DEFLATE_AT_BEST:
        raise HeaderError(f"the PNG promises {unpacked} bytes of pixels, which its {compressed} cannot hold")
    width, height = size
    return ImageHeader("PNG", width, height, width * height, exif.orientation, exif.taken_at, exif.by_gps)


def _chunk(view: memoryview, at: int) -> tuple[bytes, memoryview, int]:
    if at + 12 > len(view):
        raise Truncated("the PNG is cut short: it has no IEND chunk")
    length, kind = struct.unpack_from(">I4s", view, at)
    if kind == bytes(4):
        raise Truncated("the PNG is cut short: zeros where a chunk should be")
    end = at + 8 + length
    if end + 4 > len(view):
        raise Truncated(f"the PNG is cut short within a chunk {kind!r}")
    critical = not kind[0] & 0x20
    if critical and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", view, end)[0]:
        raise HeaderError(f"the PNG is damaged: the checksum of a chunk {kind!r} does not match")
    return kind, view[at + 8 : end], end + 4


def _image_header(body: memoryview) -> tuple[tuple[int, int], int]:
    """Width and height, and how many bytes the rows need at least."""
    if len(body) != 13:
        raise HeaderError(f"expected 13 bytes of IHDR, got {len(body)}")
    width, height, depth, colour = struct.unpack_from(">IIBB", body)
    check_size(width, height)
    if colour not in _CHANNELS:
        raise HeaderError(f"PNG has no colour type {colour}")
    return (width, height), height * ((width * depth * _CHANNELS[colour] + 7) // 8)
