"""TIFF 6.0 and BigTIFF, first directory only: that is the page which is decoded."""

from __future__ import annotations

from sam3edge.images.headers.exif import from_directory
from sam3edge.images.headers.header import HeaderError, ImageHeader, Truncated, check_size
from sam3edge.images.headers.ifd import Entry, TagReader

_WIDTH, _HEIGHT = 256, 257
_BITS_PER_SAMPLE, _COMPRESSION, _SAMPLES_PER_PIXEL = 258, 259, 277
_STRIPS, _TILES = (273, 279), (324, 325)
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_PHOTOMETRIC = 262
_UNCOMPRESSED = 1
_YCBCR = 6
_SAMPLE_FORMAT, _FLOAT = 339, 3


def recognises(data: bytes) -> bool:
    """Whether the data begin like a TIFF."""
    return TagReader.recognises(data)


def read(data: bytes) -> ImageHeader:
    """Read the first directory and check that the file holds every strip or tile it names."""
    reader = TagReader(memoryview(data))
    tags = reader.first_directory()

    def value(tag: int, default: int | None = None) -> int:
        values = reader.integers(tags[tag]) if tag in tags else ()
        if values:
            return values[0]
        if default is None:
            raise HeaderError(f"the TIFF lacks tag {tag}")
        return default

    width, height = value(_WIDTH), value(_HEIGHT)
    check_size(width, height)
    pixels = width * height
    if _TILE_WIDTH in tags:
        tile_width, tile_height = value(_TILE_WIDTH), value(_TILE_HEIGHT)
        check_size(tile_width, tile_height)
        pixels = -(-width // tile_width) * tile_width * (-(-height // tile_height) * tile_height)
    stored = _stored_bytes(reader, tags, len(data))
    if value(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED and value(_PHOTOMETRIC, 0) != _YCBCR:
        bits = value(_BITS_PER_SAMPLE, 1) * value(_SAMPLES_PER_PIXEL, 1)
        if stored < height * (width * bits // 8):
            raise HeaderError(f"the TIFF promises {width} x {height} pixels, which its {stored} bytes cannot hold")
    exif = from_directory(reader, tags)
    floating = value(_SAMPLE_FORMAT, 1) == _FLOAT
    return ImageHeader(
        "TIFF",
        width,
        height,
        pixels,
        exif.orientation,
        exif.taken_at,
        exif.by_gps,
        floating=floating,
        orientation_bytes=exif.orientation_at,
    )


def photometric(data: memoryview) -> int | None:
    """What its numbers are (TIFF 6.0, sections 3, 8, 16 and 23): 2 is RGB, 5 is CMYK, 8 is L*a*b*; None where it does
    not say.

    Raises:
        HeaderError: damaged.
    """
    reader = TagReader(data)
    tags = reader.first_directory()
    return reader.integers(tags[_PHOTOMETRIC])[0] if _PHOTOMETRIC in tags else None


def _stored_bytes(reader: TagReader, tags: dict[int, Entry], length: int) -> int:
    """Sum of the strips or tiles, each of which has to lie within the file."""
    for offset_tag, count_tag in (_STRIPS, _TILES):
        if offset_tag in tags and count_tag in tags:
            offsets, counts = reader.integers(tags[offset_tag]), reader.integers(tags[count_tag])
            if len(offsets) != len(counts):
                raise HeaderError(f"the TIFF has {len(offsets)} strips or tiles but {len(counts)} sizes for them")
            if any(offset + count > length for offset, count in zip(offsets, counts, strict=True)):
                raise Truncated("the TIFF is cut short: a strip or tile is beyond the end of the file")
            return sum(counts)
    raise HeaderError("the TIFF names neither strips nor tiles")
