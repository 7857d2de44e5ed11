"""BMP: https://learn.microsoft.com/windows/win32/gdi/bitmap-storage."""

from __future__ import annotations

import struct

from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated, check_size

_CORE_HEADER = 12
_INFO_HEADER = 40
_RAW = (0, 3, 6)
"""BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS: rows of fixed length."""


def recognises(data: bytes) -> bool:
    """Whether the data begin like a BMP."""
    return data[:2] == b"BM"


def read(data: bytes) -> ImageHeader:
    """Read the header and check that the file holds all rows."""
    if len(data) < 26:
        raise Truncated("the BMP is cut short within its header")
    offset, length = struct.unpack_from("<II", data, 10)
    compression = 0
    if length == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif length >= _INFO_HEADER and len(data) >= 14 + _INFO_HEADER:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        raise HeaderError(f"expected a BMP header of 12 or at least 40 bytes, got {length} or fewer")
    height = abs(height)
    check_size(width, height)
    needed = offset + height * ((width * bits + 31) // 32 * 4)
    if compression in _RAW and needed > len(data):
        raise Truncated(f"the BMP is cut short: expected {needed} bytes, got {len(data)}")
    return ImageHeader("BMP", width, height, width * height)
