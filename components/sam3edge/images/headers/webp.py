"""WebP: RFC 9649; EXIF in an EXIF chunk."""

from __future__ import annotations

import struct

from sam3edge.images.headers.exif import Exif, read_exif
from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated, check_size


def recognises(data: bytes) -> bool:
    """Whether the data begin like a WebP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read(data: bytes) -> ImageHeader:
    """Walk the chunks to the end that the RIFF header announces. The size is the canvas's where there is one."""
    view = memoryview(data)
    end = 8 + int(struct.unpack_from("<I", view, 4)[0])
    if end > len(view):
        raise Truncated(f"the WebP is cut short: expected {end} bytes, got {len(view)}")
    size: tuple[int, int] | None = None
    exif = Exif()
    has_pixels = False
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", view, at)
        body = view[at + 8 : at + 8 + length]
        if at + 8 + length > end:
            raise HeaderError(f"the WebP is damaged: a chunk {kind!r} reaches beyond its end")
        if kind in _SIZES:
            chunk_size = _SIZES[kind](body)
            size = size or chunk_size
            if chunk_size[0] > size[0] or chunk_size[1] > size[1]:
                raise HeaderError(f"the WebP's picture of {chunk_size} is larger than its canvas of {size}")
        elif kind == b"EXIF":
            exif = read_exif(body)
        has_pixels = has_pixels or kind in (b"VP8 ", b"VP8L", b"ANMF")
        at += 8 + length + length % 2
    if size is None or not has_pixels:
        raise HeaderError("the WebP holds no image")
    width, height = size
    return ImageHeader("WebP", width, height, width * height, exif.orientation, exif.taken_at, exif.by_gps)


def _lossy(body: memoryview) -> tuple[int, int]:
    if len(body) < 10 or bytes(body[3:6]) != b"\x9d\x01\x2a":
        raise HeaderError("the WebP's lossy picture is damaged")
    width, height = struct.unpack_from("<HH", body, 6)
    check_size(width & 0x3FFF, height & 0x3FFF)
    return width & 0x3FFF, height & 0x3FFF


def _lossless(body: memoryview) -> tuple[int, int]:
    if len(body) < 5 or body[0] != 0x2F:
        raise HeaderError("the WebP's lossless picture is damaged")
    bits = int.from_bytes(body[1:5], "little")
    return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1


def _canvas(body: memoryview) -> tuple[int, int]:
    if len(body) < 10:
        raise HeaderError("the WebP's extended header is too short")
    return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1


_SIZES = {b"VP8 ": _lossy, b"VP8L": _lossless, b"VP8X": _canvas}
