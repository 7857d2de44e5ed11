"""Label files as tools write them: COCO, GeoJSON in image coordinates, Ground Truth, CVAT, Label Studio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from sam3edge_pipeline.datasets.formats.annotations import AnnotationFile
from sam3edge_pipeline.datasets.formats.coco import read_coco
from sam3edge_pipeline.datasets.formats.cvat import read_cvat
from sam3edge_pipeline.datasets.formats.geojson import read_geojson
from sam3edge_pipeline.datasets.formats.ground_truth import read_ground_truth
from sam3edge_pipeline.datasets.formats.label_studio import read_label_studio

Format: TypeAlias = Literal["coco", "geojson", "ground-truth", "cvat", "label-studio"]
FORMATS: tuple[Format, ...] = get_args(Format)

_READERS: Mapping[Format, Callable[[Path], AnnotationFile]] = {
    "coco": read_coco,
    "geojson": read_geojson,
    "ground-truth": read_ground_truth,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
}


def read_annotations(path: Path, written_as: Format) -> AnnotationFile:
    """Read a label file of any format.

    Raises:
        FormatError: it cannot be read, or is damaged; the text names the file and the place in it.
    """
    return _READERS[written_as](path)
