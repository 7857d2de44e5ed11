"""Whatever is sent: a 4xx that says why, or a valid answer."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import jsonschema
import numpy as np
import pytest
import urllib3

from sam3edge.cli.schemas import detections_schema
from sam3edge_serving.endpoint.formats.roboflow import CONCEPT_PATH
from sam3edge_serving.endpoint.formats.segmentations import PATH
from support import media
from support.endpoint_server import Server, error
from support.gdal_files import by_gdal

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.xdist_group("endpoint"),
]

SEED = 4
JSON, LINES = "application/json", "application/jsonlines"

Sent: TypeAlias = tuple[str, bytes, str]
"""What it is, the body, and its type; a type that begins with a slash is a path that takes JSON."""


def animated(extension: str, folder: Path) -> bytes:
    film = cv2.Animation()
    film.frames = [np.full((40, 50, 3), v, np.uint8) for v in (10, 200, 90)]
    film.durations = np.array([50, 50, 50], np.int32)
    path = folder / f"film{extension}"
    assert cv2.imwriteanimation(str(path), film)
    return path.read_bytes()


def odd(folder: Path) -> Iterator[Sent]:
    """Inputs that are known to bring decoders into trouble."""
    side = 3000
    black = b"\0" * (3 * side + 1) * side
    flat = np.zeros((side, side), np.uint8)
    yield "zip bomb: 9 million pixels in 27 KB", media.png_file(side, side, 8, 2, black), "image/png"
    yield "zip bomb: rows beyond the header's", media.png_file(10, 10, 8, 2, black), "image/png"
    yield "zip bomb: 4 billion pixels", media.png_file(65535, 65535, 8, 2, black), "image/png"
    yield "zip bomb: TIFF", media.encode(flat, ".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 8)), "image/tiff"
    yield "zip bomb: gzip", gzip.compress(b"\0" * 10_000_000), "image/png"
    yield "nothing", b"", "image/png"
    yield "an archive", b"PK\x03\x04" + b"\0" * 100, "image/png"
    yield "nested JSON", b"[" * 500_000, "application/json"
    yield "nested members", b'{"image":' * 50_000, "application/json"
    yield "a large number", b'{"image":"aaaa","threshold":1' + b"0" * 5000 + b"}", "application/json"
    yield "a lone surrogate", b'{"image":"aaaa","text_prompt":"\\ud800"}', "application/json"
    yield "a nul", b'{"image":"aaaa","text_prompt":"a\\u0000b"}', "application/json"
    yield "blank lines", b"\n" * 100_000, LINES
    for extension in media.EXTENSIONS:
        yield f"1 x 1 {extension}", media.encode(media.noise(1, 1), extension), ""
        if extension != ".webp":  # which ends at 16383
            yield f"30000 x 1 {extension}", media.encode(media.noise(1, 30000), extension), ""
            yield f"1 x 30000 {extension}", media.encode(media.noise(30000, 1), extension), ""
    for extension in (".png", ".tiff"):
        yield f"16 bits {extension}", media.encode(media.noise().astype(np.uint16) * 257, extension), ""
        yield f"alpha {extension}", media.encode(np.dstack([media.noise(), media.noise()[..., :1]]), extension), ""
    yield "32 bits of float", media.encode(media.noise().astype(np.float32), ".tiff"), "image/tiff"
    yield "CMYK", media.cmyk_jpeg(10, 20, 30, 40), "image/jpeg"
    for extension in (".webp", ".png", ".gif"):
        yield f"animated {extension}", animated(extension, folder), ""


def seeds(scene: bytes) -> Sequence[Sent]:
    """Good requests, to be mutated."""
    image = media.noise(20, 28)
    small = base64.b64encode(media.encode(image, ".png")).decode()
    box = {"x": 1, "y": 2, "width": 5, "height": 5}
    phrase = {"image": small, "text_prompt": ["car", "tree"], "threshold": 0.0, "image_id": "a"}
    listed = {"image": small, "prompts": [{"text": "car"}, {"boxes": [box], "box_labels": [1]}], "format": "rle"}
    table = {"columns": ["image", "text_prompt", "input_points"], "index": [0], "data": [[small, "car", ""]]}
    made = [(f"{e} mutated", media.encode(image, e), "") for e in media.EXTENSIONS]
    made += [("progressive JPEG mutated", media.encode(image, ".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), "")]
    made += [("scene mutated", scene, "image/jpeg")]
    made += [("TIFF of five bands mutated", five_bands(), "image/tiff")]
    made += [
        (f"{name} mutated", json.dumps(value).encode(), "application/json")
        for name, value in (("phrases", phrase), ("prompts", listed), ("table", {"input_data": table}))
    ]
    made += [("lines mutated", (json.dumps(phrase) + "\n").encode() * 2, LINES)]
    wanted = {"image": small, "prompt": "car, tree", "n": 3, "threshold": 0.01}
    made += [
        (f"{path} mutated", json.dumps(value).encode(), path)
        for path, value in ((CONCEPT_PATH, listed), (PATH, wanted))
    ]
    made += [(f"NITF {c} mutated", by_gdal(image, "NITF", IC=c), "") for c in ("NC", "C8", "C3")]
    made += [(f"TIFF {c} mutated", by_gdal(image, "GTiff", COMPRESS=c), "") for c in ("ZSTD", "LERC", "WEBP", "LZMA")]
    made += [(f"TIFF of {t} mutated", by_gdal(image.astype(t), "GTiff"), "") for t in ("float32", "int16")]
    return made


def five_bands() -> bytes:
    """Uncompressed, plane by plane."""
    height, width, bands = 16, 20, 5
    plane = height * width

    def shorts(*values: int) -> tuple[int, bytes]:
        return 3, struct.pack(f"<{len(values)}H", *values)

    def longs(*values: int) -> tuple[int, bytes]:
        return 4, struct.pack(f"<{len(values)}I", *values)

    tags = {
        256: shorts(width), 257: shorts(height), 258: shorts(*[8] * bands), 259: shorts(1), 262: shorts(1),
        273: longs(*[0] * bands), 277: shorts(bands), 278: shorts(height), 279: longs(*[plane] * bands),
        284: shorts(2), 338: shorts(*[0] * (bands - 1)),
    }  # fmt: skip
    start = len(media.tiff_block(tags))
    tags[273] = longs(*[start + i * plane for i in range(bands)])
    return media.tiff_block(tags) + media.noise(height * bands, width)[..., 0].tobytes()


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to six small wounds, half of them in the head."""
    wounded = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        if not wounded:
            break
        at = chance.randrange(min(len(wounded), 200) if chance.random() < 0.5 else len(wounded))
        match chance.randrange(6):
            case 0 | 1:
                wounded[at] = chance.randrange(256)
            case 2:
                wounded[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 3:
                del wounded[at : at + chance.randint(1, 12)]
            case 4:
                wounded[at:at] = chance.randbytes(chance.randint(1, 12))
            case 5 if chance.random() < 0.3:
                del wounded[at:]
    return bytes(wounded)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_whatever_is_sent_gets_an_answer_or_a_reason(
    server: Server, scene: bytes, tmp_path: Path, figure: Callable[[str], None], count: int
) -> None:
    chance, valid = random.Random(SEED), jsonschema.Draft202012Validator(detections_schema())
    good = seeds(scene)

    def send(body: bytes, kind: str) -> urllib3.BaseHTTPResponse:
        path, kind = (kind, JSON) if kind.startswith("/") else ("/invocations", kind)
        return server.post(body, kind, "text_prompt=car|tree,threshold=0.01", path=path)

    for name, body, kind in good:
        assert send(body, kind).status == 200, name
    statuses: Counter[int] = Counter()
    known = list(odd(tmp_path))
    for number in range(count):
        if number < len(known):
            name, body, kind = known[number]
        else:
            name, body, kind = good[number % len(good)]
            body = mutate(body, chance)
        response = send(body, kind)
        statuses[response.status] += 1
        if response.status != 200:
            assert 400 <= response.status < 500, (name, response.status, response.data[:500])
            assert len(error(response, response.status)["message"]) > 10
        elif response.headers["Content-Type"] == "application/geo+json":
            valid.validate(response.json())
        elif response.headers["Content-Type"] == LINES:
            for line in response.data.decode().splitlines():
                answer = json.loads(line)
                if "error" not in answer:
                    valid.validate(answer)
        else:
            assert response.json(), name
    figure(f"endpoint, {count} fuzzed inputs: {dict(sorted(statuses.items()))}")
