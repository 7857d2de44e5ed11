"""Image and video files made on the spot, some by hand where OpenCV writes no such thing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LOSSLESS = (".png", ".tiff", ".bmp", ".webp")
EXTENSIONS = (".jpg", *LOSSLESS)


def quarters(height: int = 32, width: int = 48) -> npt.NDArray[np.uint8]:
    """RGB: red and green above, blue and white below."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = WHITE
    return image


def noise(height: int = 24, width: int = 32, seed: int = 0) -> npt.NDArray[np.uint8]:
    """RGB: smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).view(np.uint8)


def encode(image: npt.NDArray[np.generic], extension: str, parameters: Sequence[int] = ()) -> bytes:
    """An image file of an RGB, RGBA or grey image; lossless but for JPEG."""
    if image.ndim == 3:
        image = image[..., [2, 1, 0, 3][: image.shape[2]]]
    if extension == ".webp" and not parameters:
        parameters = (cv2.IMWRITE_WEBP_QUALITY, 101)
    if extension == ".jpg" and not parameters:
        parameters = (cv2.IMWRITE_JPEG_QUALITY, 98)
    return cv2.imencode(extension, np.ascontiguousarray(image), list(parameters))[1].tobytes()


def tiff_block(
    tags: dict[int, tuple[int, bytes]], exif: dict[int, tuple[int, bytes]] | None = None, order: str = "<"
) -> bytes:
    """A TIFF structure of ``tag: (type, packed values)``, with an EXIF directory where one is given."""
    sizes = {1: 1, 2: 1, 3: 2, 4: 4}
    tags = dict(tags)
    if exif is not None:
        tags[0x8769] = (4, b"\0\0\0\0")
    start = 8
    behind = start + 2 + 12 * len(tags) + 4
    body = b""

    def directory(entries: dict[int, tuple[int, bytes]], values_at: int) -> tuple[bytes, bytes]:
        table, values = struct.pack(order + "H", len(entries)), b""
        for tag, (kind, packed) in sorted(entries.items()):
            table += struct.pack(order + "HHI", tag, kind, len(packed) // sizes[kind])
            if len(packed) <= 4:
                table += packed.ljust(4, b"\0")
            else:
                table += struct.pack(order + "I", values_at + len(values))
                values += packed
        return table + b"\0\0\0\0", values

    if exif is not None:
        _, values = directory(tags, behind)
        tags[0x8769] = (4, struct.pack(order + "I", behind + len(values)))
        table, exif_values = directory(exif, 0)
        table, exif_values = directory(exif, behind + len(values) + len(table))
        body = table + exif_values
    table, values = directory(tags, behind)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", start) + table + values + body


def exif_block(orientation: int = 1, date: str = "", offset: str = "", subsec: str = "", order: str = "<") -> bytes:
    """An EXIF block without the prefix that JPEG puts before it."""
    texts = {0x9003: date, 0x9011: offset, 0x9291: subsec}
    exif = {tag: (2, text.encode() + b"\0") for tag, text in texts.items() if text}
    return tiff_block({0x0112: (3, struct.pack(order + "H", orientation))}, exif or None, order)


def with_exif(data: bytes, extension: str, block: bytes) -> bytes:
    """The image file with an EXIF block put into it."""
    if extension == ".jpg":
        body = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    if extension == ".png":
        return data[:33] + png_chunk(b"eXIf", block) + data[33:]
    if extension == ".webp":
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert data[12:16] == b"VP8L"
        canvas = b"".join((side - 1).to_bytes(3, "little") for side in (picture.shape[1], picture.shape[0]))
        chunks = riff_chunk(b"VP8X", b"\x08\0\0\0" + canvas) + data[12:] + riff_chunk(b"EXIF", block)
        return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    assert extension == ".tiff"
    return _tiff_with(data, block)


def _tiff_with(data: bytes, block: bytes) -> bytes:
    """Append a directory that holds the tags of the file and the orientation and EXIF directory of the block."""
    assert data[:2] == block[:2] == b"II"

    def entries(source: bytes) -> dict[int, bytes]:
        (at,) = struct.unpack_from("<I", source, 4)
        (count,) = struct.unpack_from("<H", source, at)
        return {
            struct.unpack_from("<H", source, at + 2 + 12 * i)[0]: source[at + 2 + 12 * i : at + 14 + 12 * i]
            for i in range(count)
        }

    merged = entries(data)
    for tag, entry in entries(block).items():
        if tag == 0x8769:
            exif_at = len(data) + struct.unpack("<I", entry[8:])[0]
            merged[tag] = entry[:8] + struct.pack("<I", exif_at)
            (count,) = struct.unpack_from("<H", block, exif_at - len(data))
            shifted = bytearray(block)
            for i in range(count):
                entry_at = exif_at - len(data) + 2 + 12 * i
                if struct.unpack_from("<I", block, entry_at + 4)[0] > 4:
                    (value_at,) = struct.unpack_from("<I", block, entry_at + 8)
                    struct.pack_into("<I", shifted, entry_at + 8, value_at + len(data))
            block = bytes(shifted)
        else:
            merged[tag] = entry
    table = struct.pack("<H", len(merged)) + b"".join(merged[tag] for tag in sorted(merged)) + b"\0\0\0\0"
    return data[:4] + struct.pack("<I", len(data) + len(block)) + data[8:] + block + table


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, depth: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    """A PNG of filtered rows, honest or not."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + png_chunk(b"IEND", b"")


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def cmyk_jpeg(cyan: int, magenta: int, yellow: int, black: int) -> bytes:
    """A JPEG of 8 x 8 pixels of one ink mixture, 0..255 each, stored inverted as Adobe does."""
    bits = ""
    for ink in (cyan, magenta, yellow, black):
        level = (255 - ink - 128) * 8
        size = abs(level).bit_length()
        value = level if level >= 0 else level + (1 << size) - 1
        bits += f"{size:04b}" + (f"{value:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    def counts(lengths: dict[int, int]) -> bytes:
        return bytes(lengths.get(n, 0) for n in range(1, 17))

    return b"".join(
        (
            b"\xff\xd8",
            segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"),
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes((i, 0x11, 0)) for i in range(1, 5))),
            segment(0xC4, b"\x00" + counts({4: 12}) + bytes(range(12))),
            segment(0xC4, b"\x10" + counts({1: 1}) + b"\0"),
            segment(0xDA, b"\4" + b"".join(bytes((i, 0)) for i in range(1, 5)) + b"\0\x3f\0"),
            scan,
            b"\xff\xd9",
        )
    )


def write_video(
    path: Path,
    frames: int = 20,
    fps: float = 25.0,
    height: int = 48,
    width: int = 64,
    colour: tuple[int, int, int] | None = None,
) -> Path:
    """A lossless video of one RGB colour, or of grey of level 10 * n + 5 in frame n."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), fps, (width, height))
    assert writer.isOpened()
    for number in range(frames):
        level = (10 * number + 5,) * 3 if colour is None else colour
        writer.write(np.full((height, width, 3), level[::-1], np.uint8))
    writer.release()
    return path
