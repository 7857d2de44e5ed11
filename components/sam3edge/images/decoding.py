"""From the bytes of an image file to pixels.

Rules, the same for every format:

- The header is read first; what is too large, cut short or of another format is refused before anything is allocated.
- Colour is RGB. Grey is repeated in three channels, palettes and CMYK (as Adobe stores it) are converted. Alpha is
  dropped, not composited, as the model's training did (``Image.convert("RGB")``).
- The EXIF orientation is applied here, once; the decoder is told to leave it alone.
- Of an animation or a file of several pages the first picture is taken.
- 16 bits and floating point become 8 bits, see ``images/depth.py``.
- A JPEG much larger than a model looks at is decoded at a half, a quarter or an eighth of its size where that is asked
  for: the decoder then transforms smaller blocks, which takes 40 to 50 % of the time and 6 to 25 % of the memory.

Damage that leaves the structure of the file whole is not seen where the format has no checksums (all but PNG): such
pictures are decoded as far as they go.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge.core.types import Clock, RgbImage
from sam3edge.images.depth import DepthError, DepthOptions, to_eight_bits, used_range
from sam3edge.images.headers import HeaderError, ImageHeader, Truncated, read_header

_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_UPRIGHT, _ON_ITS_SIDE = 1, 5
"""EXIF orientations: as stored, and from which width and height are exchanged."""

_JPEG_END = b"\xff\xd9"
_NOISE = tuple(bytes(random.Random(seed).choices(range(1, 255), k=4096)) for seed in (1, 2))
"""Entropy-coded data of no meaning, without markers."""


MIN_SIDE = 1440
"""``DecodeOptions.min_side`` for SAM 3's input of 1008 pixels. At 1.43 times that, resizing still averages over more
than a pixel: of a noisy photograph of 12 megapixels the input then differs from that of the whole by 0.5 of 255 levels
on average, and by 6 or less in 99.9 % of its values; at 0.75 times it would be 1.2 and 14."""


class DecodeError(ValueError):
    """The bytes are not a usable image; the text says why."""


class UnfinishedImage(DecodeError):
    """The bytes end before the image does: perhaps the file is still being written."""


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What is decoded, and how.

    Attributes:
        max_pixels: images with more pixels are refused by their header.
        depth: how more than 8 bits per channel become 8.
        time_zone: of EXIF times that name no offset to UTC; None for that of this device.
        min_side: a JPEG is decoded at a half, a quarter or an eighth of its size as long as both sides keep this number
            of pixels; 0 for its whole size.
    """

    max_pixels: int = 100_000_000
    depth: DepthOptions = field(default_factory=DepthOptions)
    time_zone: tzinfo | None = None
    min_side: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded image.

    Attributes:
        image: uint8 [h, w, 3], RGB, upright, C-contiguous.
        size: width and height of the image in pixels, upright; more than ``image`` has when it was decoded smaller.
        taken_at: when the image was taken, in UTC, as far as EXIF says so.
        clock: which clock said so.
        used_range: share of the 16 bits that the image uses, 0..1; 1 for all others.
    """

    image: RgbImage
    size: tuple[int, int]
    taken_at: datetime | None
    clock: Clock = "file"
    used_range: float = 1.0


def decode(data: bytes, options: DecodeOptions) -> Decoded:
    """Decode a JPEG, PNG, TIFF, BMP or WebP file.

    Raises:
        UnfinishedImage: cut short.
        DecodeError: another format, damaged, larger than allowed, or of a depth that is not read.
    """
    try:
        header = read_header(data)
    except Truncated as error:
        raise UnfinishedImage(str(error)) from error
    except HeaderError as error:
        raise DecodeError(str(error)) from error
    if header.pixels > options.max_pixels:
        raise DecodeError(
            f"expected at most {options.max_pixels} pixels, the header says {header.width} x {header.height}; "
            "raise max_pixels if images of this size are meant to come"
        )
    counts = _decode_pixels(data, header, options.min_side)
    try:
        pixels = to_eight_bits(counts, options.depth)
    except DepthError as error:
        raise DecodeError(str(error)) from error
    cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    taken_at, clock = taken(header, options.time_zone)
    image = np.ascontiguousarray(_upright(pixels, header.orientation))
    size = (header.height, header.width) if header.orientation >= _ON_ITS_SIDE else (header.width, header.height)
    return Decoded(image, size, taken_at, clock, used_range(counts))


def taken(header: ImageHeader, time_zone: tzinfo | None) -> tuple[datetime | None, Clock]:
    """When an image was taken, in UTC, and which clock said so; a time without offset is of ``time_zone``."""
    moment = header.taken_at
    if moment is None:
        return None, "file"
    if moment.tzinfo is not None:
        return moment.astimezone(timezone.utc), "gps" if header.by_gps else "exif"
    try:
        local = moment.astimezone() if time_zone is None else moment.replace(tzinfo=time_zone)
        return local.astimezone(timezone.utc), "exif-local"
    except (OverflowError, ValueError, OSError):  # the year 1 or 9999, which another zone does not have
        return None, "file"


def _decode_pixels(data: bytes, header: ImageHeader, min_side: int) -> npt.NDArray[np.generic]:
    """[h, w, 3] blue-green-red as stored, in the depth of the file."""
    if header.orientation_bytes is not None and header.orientation != _UPRIGHT:
        data = _marked_upright(data, header.orientation_bytes)
    if header.ends_at is not None:
        return _decode_without_end(_written(data[: header.ends_at]), header)
    return _decode(data, header, _reduction(header, min_side))


def _reduction(header: ImageHeader, min_side: int) -> int:
    """By how much a JPEG may be decoded smaller: 1, 2, 4 or 8."""
    if header.format != "JPEG" or min_side <= 0:
        return 1
    return max((n for n in _REDUCED if min(header.width, header.height) >= n * min_side), default=1)


def _written(scan: bytes) -> bytes:
    """Without room that was taken and not written yet, and without half a stuffed byte or marker."""
    written = scan.rstrip(b"\0")
    return (written if len(scan) - len(written) > 3 else scan).rstrip(b"\xff")


def _decode_without_end(scan: bytes, header: ImageHeader) -> npt.NDArray[np.generic]:
    """A JPEG whose end marker is missing. If every row is there, what follows the scan makes no difference to the
    pixels; if rows are missing, the decoder makes them up from it."""
    pixels = _decode(scan + _JPEG_END, header)
    if not all(np.array_equal(pixels, _decode(scan + noise + _JPEG_END, header)) for noise in _NOISE):
        raise UnfinishedImage("the JPEG is cut short: it has no end marker, and rows are missing")
    return pixels


def _decode(data: bytes, header: ImageHeader, reduction: int = 1) -> npt.NDArray[np.generic]:
    flags = cv2.IMREAD_UNCHANGED if header.floating else _FLAGS
    if reduction > 1:
        flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise DecodeError(f"the {header.format} cannot be decoded: {' '.join(str(error).split())}") from error
    if pixels is None:
        raise DecodeError(f"the {header.format} is damaged or of a kind that OpenCV cannot decode")
    if header.floating and pixels.ndim == 2:
        pixels = cv2.merge([pixels] * 3)
    if pixels.shape != (-(-header.height // reduction), -(-header.width // reduction), 3):
        raise DecodeError(
            f"the {header.format} header says {header.width} x {header.height} pixels, "
            f"decoded were {pixels.shape[1]} x {pixels.shape[0]}"
        )
    return pixels


def _marked_upright(data: bytes, span: slice) -> bytes:
    """OpenCV turns TIFF files whatever it is told, so the tag is overwritten in a copy."""
    value = memoryview(data)[span]
    upright = (1).to_bytes(len(value), "little" if data[:2] == b"II" else "big")
    return b"".join((data[: span.start], upright, data[span.stop :]))


def _upright(image: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.32, 4.6.5.1.5)."""
    if orientation >= _ON_ITS_SIDE:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
