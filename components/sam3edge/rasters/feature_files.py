"""Features as files, written one after the other, so that none waits in memory for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sam3edge.core.messages.detections import DetectionsMessage
from sam3edge.core.messages.envelope import to_json
from sam3edge.core.messages.features import Feature
from sam3edge.durable import new_file


def write_collection(path: Path, features: Iterable[Feature], collection: Callable[[], DetectionsMessage]) -> None:
    """Write a FeatureCollection, whole or not at all.

    Args:
        collection: gives its other members, once all features are written.

    Raises:
        OSError: it cannot be written.
    """
    with new_file(path) as stream:
        stream.write(b'{"type":"FeatureCollection","features":[')
        before = b"\n"
        for one in features:
            stream.write(before + to_json(one))
            before = b",\n"
        rest = {name: value for name, value in collection().items() if name not in ("type", "features")}
        stream.write(b"\n]," + to_json(rest)[1:] + b"\n")


def write_lines(path: Path, features: Iterable[Feature]) -> None:
    """Write a feature a line, as GDAL's GeoJSONSeq driver reads them; whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with new_file(path) as stream:
        for one in features:
            stream.write(to_json(one) + b"\n")
