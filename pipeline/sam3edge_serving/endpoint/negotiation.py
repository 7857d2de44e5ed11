"""Which format a request is in, and which it is to be answered in (RFC 9110, 8.3 and 12.5.1)."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from sam3edge_serving.http.errors import NotAcceptable, UnsupportedMedia

GEOJSON = "application/geo+json"
JSON = "application/json"
COCO_RLE = "application/vnd.coco.rle+json"
JSON_LINES = "application/jsonlines"

IMAGES = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/webp", "application/octet-stream")
LINES = (JSON_LINES, "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
_UNSAID = ("", "application/x-www-form-urlencoded", "application/x-image")
"""What clients send along with bytes when nobody told them what they are; the second is curl's ``--data-binary``."""


class Body(enum.Enum):
    """What a body holds."""

    IMAGE = "image"
    JSON = "json"
    LINES = "lines"


def body_of(content_type: str) -> Body:
    """What the header Content-Type announces. Which format an image has, its bytes say better than the header.

    Raises:
        UnsupportedMedia: nothing that this endpoint reads.
    """
    kind = content_type.split(";")[0].strip().lower()
    if kind == JSON:
        return Body.JSON
    if kind in LINES:
        return Body.LINES
    if kind in IMAGES or kind in _UNSAID or kind.startswith("image/"):
        return Body.IMAGE
    raise UnsupportedMedia(
        f"a body of type {kind[:80]!r} is not read; send an image ({', '.join(IMAGES)}), {JSON} or {JSON_LINES}"
    )


def choose(accept: str, offers: Sequence[str]) -> str:
    """The offer that the header Accept likes best, the first of those that it likes alike.

    Raises:
        NotAcceptable: it excludes all of them.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return offers[0]
    liked = {offer: _quality(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: liked[offer])  # max gives the first of several
    if liked[best] <= 0:
        raise NotAcceptable(f"this request can be answered in {', '.join(offers)}, not in {accept[:80]!r}")
    return best


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (p.strip().lower() for p in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, float(value)
            except ValueError:
                break
    return kind, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """By the most specific of the ranges that the offer is in; 0 when it is in none."""
    for pattern in (offer, offer.split("/")[0] + "/*", "*/*"):
        for kind, quality in ranges:
            if kind == pattern:
                return quality
    return 0.0
