"""What the gate found, for machines (``parity.json``) and for people (``index.html`` with pictures)."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import numpy.typing as npt
import shapely

from sam3edge.core.polygons import outline_of
from sam3edge.core.types import Instance, RgbImage
from sam3edge_export.parity.compare import Comparison, Pair
from sam3edge_export.parity.gate import Parity

REFERENCE_COLOR, OUR_COLOR = (0, 190, 90), (235, 40, 130)
"""RGB of the outlines."""

PICTURE_SIDE, CROP_SIDE, CROPS = 900, 320, 24
"""Pixels of a picture's and of a crop's longer side; crops shown, worst first."""

PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "sam3edge")


def write_report(parity: Parity, against: Sequence[Parity], folder: Path) -> None:
    """Write ``parity.json`` and ``index.html``.

    Args:
        against: further comparisons of the reference (with Meta's package, where it is installed).
        folder: made when it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "packages": {name: version(name) for name in PACKAGES},
        **parity.summary(),
        "failures": list(parity.failures),
        "frames": [_frame(c) for c in parity.comparisons],
        "against": [{**other.summary(), "failures": list(other.failures)} for other in against],
    }
    (folder / "parity.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(_page(parity, report), encoding="utf-8")


def _frame(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.frame.name,
        "digest": comparison.frame.digest,
        "size": [comparison.frame.width, comparison.frame.height],
        "objects": [_numbers(pair) for pair in comparison.pairs],
        "missing": [_named(i) for i in comparison.missing],
        "extra": [_named(i) for i in comparison.extra],
        "borderline": comparison.borderline,
    }


def _named(instance: Instance) -> dict[str, Any]:
    return {
        "prompt": instance.prompt.text,
        "score": round(instance.score, 5),
        "box": [round(v, 1) for v in instance.box],
    }


def _numbers(pair: Pair) -> dict[str, Any]:
    return {
        **_named(pair.reference),
        "iou": round(pair.iou, 5),
        "score_difference": round(pair.score, 6),
        "box_difference": round(pair.box, 6),
        "mask_logit_difference": round(pair.logits, 5),
    }


def _page(parity: Parity, report: dict[str, Any]) -> str:
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html")
    worst = sorted(((pair.iou, n, c, pair) for c in parity.comparisons for n, pair in enumerate(c.pairs)), key=_first)
    return template.render(
        report=report,
        failures=parity.failures[:200],
        frames=[(c, _jpeg(_overview(c))) for c in parity.comparisons],
        crops=[(c, pair, _jpeg(_crop(c, pair))) for iou, _, c, pair in worst[:CROPS] if iou < 1],
        css="rgb({},{},{})".format,
        reference_color=REFERENCE_COLOR,
        our_color=OUR_COLOR,
    )


def _first(item: tuple[float, int, Comparison, Pair]) -> float:
    return item[0]


def _overview(comparison: Comparison) -> RgbImage:
    """The frame with both sides' outlines."""
    frame = comparison.frame
    scale = min(1.0, PICTURE_SIDE / max(frame.width, frame.height))
    size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    canvas = np.ascontiguousarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
    theirs = [*(p.reference for p in comparison.pairs), *comparison.missing]
    mine = [*(p.ours for p in comparison.pairs), *comparison.extra]
    for instances, color, width in ((theirs, REFERENCE_COLOR, 3), (mine, OUR_COLOR, 1)):
        for instance in instances:
            _draw(canvas, instance, frame.width, frame.height, (0.0, 0.0), scale, color, width)
    return canvas


def _crop(comparison: Comparison, pair: Pair) -> RgbImage:
    """The surroundings of one object, enlarged, with both outlines."""
    frame = comparison.frame
    x0, y0, x1, y1 = pair.reference.box
    margin = 0.1 * max(x1 - x0, y1 - y0) + 4
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(frame.width, int(x1 + margin) + 1), min(frame.height, int(y1 + margin) + 1)
    part = frame.image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = CROP_SIDE / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    canvas = np.ascontiguousarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)).astype(np.uint8)
    for instance, color, width in ((pair.reference, REFERENCE_COLOR, 3), (pair.ours, OUR_COLOR, 1)):
        _draw(canvas, instance, frame.width, frame.height, (left, top), scale, color, width)
    return canvas


def _draw(
    canvas: RgbImage,
    instance: Instance,
    width: int,
    height: int,
    origin: tuple[float, float],
    scale: float,
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    for part in shapely.get_parts(outline_of(instance.mask, width, height)):
        for ring in (part.exterior, *part.interiors):
            points: npt.NDArray[np.float64] = (shapely.get_coordinates(ring) - origin) * scale - 0.5
            cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], True, color, thickness, cv2.LINE_AA, 4)


def _jpeg(image: RgbImage) -> str:
    """As a data URL, so that the page is one file."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
