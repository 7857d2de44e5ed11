"""A raster, what was detected on it and what is there, with figures worked out by hand.

100 x 80 pixels of a metre in UTM 33. Two fields and a road across; one field is found exactly, the other 5 pixels too
far to the right, a third one is invented, and of the road the left 40 pixels are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from sam3edge.vector.files import write_features
from sam3edge_pipeline.evaluation.vector.classes import Classes
from sam3edge_pipeline.evaluation.vector.evaluation import MapInputs
from sam3edge_pipeline.evaluation.vector.preparation import TruthColumns
from sam3edge_pipeline.evaluation.vector.source import VectorSource
from support.vector_files import feature

WIDTH, HEIGHT = 100, 80
TRANSFORM = Affine(1, 0, 391_000, 0, -1, 5_820_000)
UTM = "EPSG:32633"
TURNED = Affine(0.8, 0.6, 391_000, 0.6, -0.8, 5_820_000)
"""The same pixels, turned by 37 degrees."""

TRUTH: Mapping[str, Sequence[BaseGeometry]] = {
    "F16": [shapely.box(10, 10, 30, 30), shapely.box(40, 10, 60, 30)],
    "R": [shapely.box(0, 50, 100, 54)],
}
"""By value of the attribute, in pixels."""

DETECTIONS: Sequence[tuple[str, float, BaseGeometry]] = (
    ("field", 0.9, shapely.box(10, 10, 30, 30)),
    ("field", 0.8, shapely.box(45, 10, 65, 30)),
    ("field", 0.7, shapely.box(70, 60, 80, 70)),
    ("road", 0.6, shapely.box(0, 50, 40, 54)),
)
"""Prompt, score, and outline in pixels."""

CLASSES = ("F16=field", "R=road")

CONFUSION = [[6600, 200, 0], [100, 700, 0], [240, 0, 160]]
"""Background, field, road: what is there (rows) and what was detected (columns)."""


def write_raster(
    path: Path,
    transform: Affine = TRANSFORM,
    crs: str | None = UTM,
    nodata: npt.NDArray[np.bool_] | None = None,
    image: npt.NDArray[np.uint8] | None = None,
    **tags: str,
) -> Path:
    """A GeoTIFF of grey, or of an image [H, W, 3].

    Args:
        nodata: bool [H, W], pixels without data.
    """
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8) if image is None else image
    size = {"width": image.shape[1], "height": image.shape[0], "count": 3, "dtype": "uint8"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size) as file,
    ):
        file.write(image.transpose(2, 0, 1))
        file.update_tags(**tags)
        if nodata is not None:
            file.write_mask(~nodata)
    return path


def on_earth(
    outline: BaseGeometry, crs: str = "EPSG:4326", transform: Affine = TRANSFORM, raster_crs: str = UTM
) -> BaseGeometry:
    """An outline in pixels of the raster, in some reference system; edges of at most 16 pixels stay where they were."""
    there = Transformer.from_crs(raster_crs, crs, always_xy=True)

    def moved(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        t = transform
        x, y = t.a * at[:, 0] + t.b * at[:, 1] + t.c, t.d * at[:, 0] + t.e * at[:, 1] + t.f
        return np.column_stack(there.transform(x, y))

    # GEOS repairs what it divides, in a way of its own
    return shapely.transform(shapely.segmentize(outline, 16) if outline.is_valid else outline, moved)


def write_truth(
    path: Path,
    areas: Mapping[str, Iterable[BaseGeometry | None]] = TRUTH,
    crs: str = UTM,
    driver: str | None = None,
    transform: Affine = TRANSFORM,
    **columns: Sequence[Any],
) -> Path:
    """A vector file with the attribute CROP, of outlines in pixels."""
    rows = [
        (value, None if one is None else on_earth(one, crs, transform))
        for value, several in areas.items()
        for one in several
    ]
    table = geopandas.GeoDataFrame(
        {"CROP": [value for value, _ in rows], **columns}, geometry=[one for _, one in rows], crs=crs
    )
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, driver=driver, engine="pyogrio")
    return path


def write_detections(
    path: Path, detections: Iterable[tuple[str, float, BaseGeometry]] = DETECTIONS, transform: Affine = TRANSFORM
) -> Path:
    """A file of ours."""
    several = (
        feature(str(number), on_earth(outline, transform=transform), outline, prompt=prompt, label=prompt, score=score)
        for number, (prompt, score, outline) in enumerate(detections)
    )
    write_features(path, several)
    return path


def scene_inputs(folder: Path, classes: Iterable[str] = CLASSES, value: str = "CROP") -> MapInputs:
    """The scene in files."""
    return MapInputs(
        write_raster(folder / "raster.tif"),
        VectorSource(write_detections(folder / "found.gpkg")),
        VectorSource(write_truth(folder / "truth.gpkg")),
        Classes(classes),
        truth_columns=TruthColumns(value),
    )


def crs_of(name: str) -> CRS:
    """By its name."""
    return CRS.from_user_input(name)
