"""What the gate found, for machines (``parity.json``) and for people (``index.html`` with pictures)."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from sam3edge.core.polygons import outline_of
from sam3edge.core.types import Frame, Instance
from sam3edge.images.views import View, close_up, overview
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
        frames=[(c, _overview(c).to_data_url()) for c in parity.comparisons],
        crops=[(c, pair, _crop(c, pair).to_data_url()) for iou, _, c, pair in worst[:CROPS] if iou < 1],
        css="rgb({},{},{})".format,
        reference_color=REFERENCE_COLOR,
        our_color=OUR_COLOR,
    )


def _first(item: tuple[float, int, Comparison, Pair]) -> float:
    return item[0]


def _overview(comparison: Comparison) -> View:
    """The frame with both sides' outlines."""
    view = overview(comparison.frame, PICTURE_SIDE)
    theirs = [*(p.reference for p in comparison.pairs), *comparison.missing]
    mine = [*(p.ours for p in comparison.pairs), *comparison.extra]
    _draw(view, comparison.frame, theirs, mine)
    return view


def _crop(comparison: Comparison, pair: Pair) -> View:
    """The surroundings of one object, enlarged, with both outlines."""
    view = close_up(comparison.frame, pair.reference.box, CROP_SIDE)
    _draw(view, comparison.frame, [pair.reference], [pair.ours])
    return view


def _draw(view: View, frame: Frame, theirs: Sequence[Instance], mine: Sequence[Instance]) -> None:
    for instances, color, thickness in ((theirs, REFERENCE_COLOR, 3), (mine, OUR_COLOR, 1)):
        for instance in instances:
            view.draw(outline_of(instance.mask, frame.width, frame.height), color, thickness)
