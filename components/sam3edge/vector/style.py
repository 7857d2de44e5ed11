"""The style with which QGIS shows a file: a colour for each label, as in our overlays, and label and score in words.

QGIS's own format, QML: what "Save as Default" writes beside a file. There is no specification; the elements are those
that ``QgsCategorizedSymbolRenderer::create``, ``QgsSymbolLayerUtils::loadSymbol`` and ``QgsPalLayerSettings::readXml``
read.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sam3edge.images.overlay import color_of
from sam3edge.vector.layers import Kind
from sam3edge.vector.rows import Row

MAX_LABELS = 64
"""Labels with a colour of their own; further ones share one."""

OPACITY = 64
"""Of 255, within an outline."""

OTHER_RGB = (128, 128, 128)

_SYMBOLS: Mapping[Kind, tuple[str, str]] = {
    "MultiPolygon": ("fill", "SimpleFill"),
    "MultiLineString": ("line", "SimpleLine"),
    "MultiPoint": ("marker", "SimpleMarker"),
    "GeometryCollection": ("fill", "SimpleFill"),
}

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

_OURS = "<!-- written by sam3edge, which writes it again with the file beside it; QGIS leaves this line out -->\n"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write (https://www.w3.org/TR/xml/#charsets)."""

_WORDS = 'concat("label", \' \', format_number("score", 2))'


class Labels:
    """The labels of a layer, as many as have a colour of their own."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def see(self, rows: Iterable[Row]) -> None:
        """Note the labels of these rows."""
        for row in rows:
            if len(self._seen) < MAX_LABELS and "label" in row.values:
                self._seen.add(str(row.values["label"]))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._seen))


def qml(labels: Iterable[str], kind: Kind) -> str:
    """The style of a layer.

    Args:
        labels: each gets a colour, but for those that XML cannot say: they look like all others.
        kind: of the layer's geometries.
    """
    named = list(labels)
    root = ET.Element("qgis", {"version": "3.22", "styleCategories": "Symbology|Labeling", "labelsEnabled": "1"})
    renderer = ET.SubElement(root, "renderer-v2", {"type": "categorizedSymbol", "attr": "label"})
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    said = [label for label in named if label and not _NOT_XML.search(label)]
    for number, label in enumerate([*said, ""]):  # the empty value is QGIS's category of all other values
        words = {"value": label, "label": label or "other", "symbol": str(number), "render": "true"}
        ET.SubElement(categories, "category", words)
        blue, green, red = color_of(label, named) if label else OTHER_RGB
        symbols.append(_symbol(str(number), kind, (red, green, blue)))
    root.append(_labeling())
    return _DOCTYPE + _OURS + ET.tostring(root, encoding="unicode")


def write_sidecar(path: Path, labels: Iterable[str], kind: Kind) -> None:
    """Write the style beside a file, with its base name: QGIS loads it with the file."""
    path.with_suffix(".qml").write_text(qml(labels, kind), encoding="utf-8")


def is_anothers_style(path: Path) -> bool:
    """Whether this is a style that was not written by us, or was changed in QGIS since.

    Raises:
        OSError: it cannot be read.
    """
    if path.suffix != ".qml" or not path.exists():
        return False
    with path.open("rb") as file:
        return _OURS.encode() not in file.read(1024)


def _symbol(name: str, kind: Kind, rgb: tuple[int, int, int]) -> ET.Element:
    type_, layer_class = _SYMBOLS[kind]
    line = ",".join(map(str, (*rgb, 255)))
    inside = ",".join(map(str, (*rgb, OPACITY)))
    options = {"color": inside, "style": "solid", "outline_color": line, "outline_style": "solid"}
    options |= {"outline_width": "0.5", "outline_width_unit": "MM"}
    if type_ == "line":
        options = {"line_color": line, "line_style": "solid", "line_width": "0.5", "line_width_unit": "MM"}
    symbol = ET.Element("symbol", {"type": type_, "name": name, "alpha": "1"})
    layer = ET.SubElement(symbol, "layer", {"class": layer_class, "enabled": "1", "pass": "0", "locked": "0"})
    given = ET.SubElement(layer, "Option", {"type": "Map"})
    for key, value in options.items():
        ET.SubElement(given, "Option", {"name": key, "type": "QString", "value": value})
    return symbol


def _labeling() -> ET.Element:
    labeling = ET.Element("labeling", {"type": "simple"})
    settings = ET.SubElement(labeling, "settings")
    how = {"fieldName": _WORDS, "isExpression": "1", "fontSize": "9", "fontSizeUnit": "Point", "textColor": "0,0,0,255"}
    text = ET.SubElement(settings, "text-style", how)
    ET.SubElement(
        text,
        "text-buffer",
        {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,255"},
    )
    ET.SubElement(settings, "placement", {"placement": "1"})  # over the point in the middle of the area
    ET.SubElement(settings, "rendering", {"obstacle": "0"})
    return labeling
