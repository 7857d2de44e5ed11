"""The page of a demo that has ended: its frames with their outlines, in one folder, without a server or a script."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import shapely

from sam3edge.core.errors import FrameError
from sam3edge.images.files import read_frame
from sam3edge.images.jpeg import picture_of
from sam3edge.images.overlay import color_of

PICTURE_SIDE, PICTURE_BYTES = 1280, 4 << 20
"""Of the picture of a frame: pixels of its longer side, and bytes, at most."""

PICTURES = "page"
"""The folder of the pictures, beside the page."""

LETTERS = 28
"""How many letters high the longer side of a frame is, so that they have 11 CSS pixels on a phone: a page without a
script cannot measure."""

LETTER_WIDTH, LINE_HEIGHT = 0.6, 1.2
"""Over a letter's height, about."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class FinishedFrame:
    """What has become of one frame.

    Attributes:
        name: what a person calls it.
        image: its file; may be gone, or not an image.
        features: of all parts of its message of detections.
        milliseconds: by stage.
        reason: why the frame could not be used; empty for one that was.
    """

    name: str
    image: Path
    features: Sequence[Mapping[str, Any]] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


def write_finished_page(
    folder: Path,
    title: str,
    facts: Mapping[str, str | Mapping[str, str]],
    frames: Iterable[FinishedFrame],
    labels: Sequence[str],
) -> Path:
    """Write ``index.html`` into a folder, and the frames' pictures below it.

    Args:
        facts: what is said of the whole, by name: a text, or paths below the folder by what their links say.
        labels: every label there may be; each has its own colour.

    Returns:
        The page.
    """
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    style = (_HERE / "finished.css").read_text()
    page = Template((_HERE / "finished.html").read_text()).substitute(
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        style=style,
        title=escape(title),
        facts="".join(f"<dt>{escape(name)}</dt><dd>{_fact(fact)}</dd>" for name, fact in facts.items()),
        frames="\n".join(_figure(folder, number, frame, labels) for number, frame in enumerate(frames)),
    )
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _fact(fact: str | Mapping[str, str]) -> str:
    if isinstance(fact, str):
        return escape(fact)
    return ", ".join(f'<a href="{quote(path)}">{escape(words)}</a>' for words, path in fact.items())


def _figure(folder: Path, number: int, frame: FinishedFrame, labels: Sequence[str]) -> str:
    counts = Counter(str(feature["properties"]["label"]) for feature in frame.features)
    said = ", ".join(f"{count} × {label}" for label, count in counts.most_common()) or "nothing found"
    spent = ", ".join(f"{stage} {milliseconds:.0f} ms" for stage, milliseconds in frame.milliseconds.items())
    drawing = "" if frame.reason else _drawing(folder, number, frame, said, labels)
    kind, words = ("refused", frame.reason) if frame.reason else ("found", said)
    return (  # bdi: a character that turns the direction of a name or label around does so within it alone
        f'<figure>{drawing}<figcaption><strong><bdi>{escape(frame.name)}</bdi></strong> <bdi class="{kind}">'
        f"{escape(words)}</bdi><span>{escape(spent)}</span></figcaption></figure>"
    )


def _drawing(folder: Path, number: int, frame: FinishedFrame, said: str, labels: Sequence[str]) -> str:
    try:
        image = read_frame(frame.image)
    except FrameError:
        return ""
    path = f"{PICTURES}/{number:05}.jpg"
    (folder / path).write_bytes(picture_of(image, PICTURE_SIDE, PICTURE_BYTES).jpeg)
    width, height = image.width, image.height
    size = max(width, height) / LETTERS
    ordered = sorted(frame.features, key=lambda feature: -float(feature["properties"]["area"]))
    shapes = "".join(_outline(feature["properties"], labels) for feature in ordered)
    names = "".join(_names([feature["properties"] for feature in frame.features], width, size))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(f"{frame.name}: {said}")}">'
        f'<image href="{path}" width="{width}" height="{height}" preserveAspectRatio="none"/>{shapes}{names}</svg>'
    )


def _outline(properties: Mapping[str, Any], labels: Sequence[str]) -> str:
    geometry = properties["imageGeometry"]
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = (ring for polygon in polygons for ring in polygon)
    drawn = "".join("M" + "L".join(f"{float(x):g} {float(y):g}" for x, y in ring) + "Z" for ring in rings)
    blue, green, red = color_of(str(properties["label"]), labels)
    color = f"rgb({red} {green} {blue})"
    return f'<path class="seam" d="{drawn}"/><path class="outline" d="{drawn}" fill="{color}" stroke="{color}"/>'


def _names(objects: Sequence[Mapping[str, Any]], width: int, size: float) -> Iterator[str]:
    """What objects are, beside their outlines, best scores first; those that would lie over others are left out."""
    placed: list[tuple[float, float, float]] = []
    for properties in sorted(objects, key=lambda one: -float(one["score"])):
        words = f"{properties['label']} {float(properties['score']):.2f}"
        long = len(words) * size * LETTER_WIDTH
        x = max(0.0, min(float(properties["imageBBox"][0]), width - long))
        y = max(size, _top_within(properties["imageGeometry"], x, x + long) - size / 4)
        if all(x >= to or begin >= x + long or abs(y - at) >= size * LINE_HEIGHT for begin, to, at in placed):
            placed.append((x, x + long, y))
            yield f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" stroke-width="{size / 4:g}">{escape(words)}</text>'


def _top_within(geometry: Mapping[str, Any], left: float, right: float) -> float:
    """How far up an outline reaches between left and right, pixels: what is written there is on it and on no other."""
    outline = shapely.geometry.shape(dict(geometry))
    part = shapely.clip_by_rect(outline.boundary, left, outline.bounds[1] - 1, right, outline.bounds[3] + 1)
    return float((outline if part.is_empty else part).bounds[1])
