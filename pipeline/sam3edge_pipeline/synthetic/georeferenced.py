"""Scenes on Earth from one seed: objects of which is known where they are, as a GeoTIFF in some reference system.

Red objects (ellipses, bars, blocks with a courtyard) on grey ground, where the pixels of the raster say; nothing of the
device's own way from pixels to places is used to say where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from pyproj import Geod, Transformer
from shapely import affinity
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

OBJECT = (255, 0, 0)
GROUND = 90
SUBSAMPLES = 4
"""Per pixel and axis: a pixel is the object's where most of them are."""

ELLIPSOID = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True)
class World:
    """Where a scene is.

    Attributes:
        crs: as PROJ reads it.
        corner: x, y of its upper left corner, in units of ``crs``.
        pixel: width and height of a pixel, in units of ``crs``.
    """

    crs: str
    corner: tuple[float, float]
    pixel: tuple[float, float]

    @property
    def transform(self) -> Affine:
        """From pixels to coordinates."""
        return Affine(self.pixel[0], 0, self.corner[0], 0, -self.pixel[1], self.corner[1])

    def to_earth(self, pixels: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Longitudes and latitudes, degrees, of pixels [n, 2]."""
        x = self.corner[0] + self.pixel[0] * pixels[:, 0]
        y = self.corner[1] - self.pixel[1] * pixels[:, 1]
        longitudes, latitudes = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(x, y)
        return np.asarray(longitudes), np.asarray(latitudes)


WORLDS: Mapping[str, World] = {
    "utm": World("EPSG:32633", (391_000.0, 5_820_000.0), (0.5, 0.5)),
    "polar": World("EPSG:3413", (-480_000.0, -990_000.0), (2.0, 2.0)),
    "pole": World("EPSG:3413", (-640.0, 512.0), (2.0, 2.0)),
    "antimeridian": World("EPSG:4326", (179.9968, -16.8), (1e-5, 1e-5)),
}
"""Berlin in UTM, Greenland in polar stereographic coordinates, the pole itself, and Fiji across the antimeridian, whose
longitudes are counted beyond 180."""


@dataclass(frozen=True, slots=True)
class WorldObject:
    """One object.

    Attributes:
        outline: in pixels of the scene.
        centroid: longitude and latitude, degrees of WGS 84.
        area: square metres on the ellipsoid.
    """

    outline: Polygon
    centroid: tuple[float, float]
    area: float


@dataclass(frozen=True, slots=True, eq=False)
class WorldScene:
    """A picture, uint8 [H, W, 3] RGB, of what is in a place."""

    world: World
    image: npt.NDArray[np.uint8]
    objects: tuple[WorldObject, ...]


def draw_world(seed: int, world: World, width: int = 640, height: int = 512, count: int = 6) -> WorldScene:
    """Draw the scene of ``seed`` in some place.

    Args:
        count: objects at most; fewer where there is no room for them.
    """
    rng = np.random.default_rng(seed)
    outlines: list[Polygon] = []
    for _ in range(20 * count):
        one = _shape(rng, width, height)
        inside = shapely.box(4, 4, width - 4, height - 4).contains(one)
        if len(outlines) < count and inside and all(one.distance(other) > 6 for other in outlines):
            outlines.append(one)
    image = np.full((height, width, 3), GROUND, np.uint8)
    for outline in outlines:
        image[_covered(outline, width, height)] = OBJECT
    return WorldScene(world, image, tuple(_located(outline, world) for outline in outlines))


def write_geotiff(path: Path, scene: WorldScene, nodata: npt.NDArray[np.bool_] | None = None) -> None:
    """Write a scene as a GeoTIFF.

    Args:
        nodata: bool [H, W], pixels that the file's mask says hold no data.
    """
    height, width = scene.image.shape[:2]
    where = {"crs": scene.world.crs, "transform": scene.world.transform}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8", **where) as file,
    ):
        file.write(scene.image.transpose(2, 0, 1))
        if nodata is not None:
            file.write_mask(~nodata)


def _shape(rng: np.random.Generator, width: int, height: int) -> Polygon:
    at = rng.uniform((0, 0), (width, height))
    long, short = rng.uniform(40, 90), rng.uniform(24, 40)
    kind = rng.integers(3)
    one: BaseGeometry
    if kind == 0:
        one = affinity.scale(shapely.Point(0, 0).buffer(1.0, 64), long, short)
    elif kind == 1:
        one = shapely.box(-1.6 * long, -short / 2, 1.6 * long, short / 2)
    else:
        yard = shapely.box(-long / 3, -short / 3, long / 3, short / 3)
        one = shapely.box(-long, -short, long, short).difference(yard)
    turned = affinity.rotate(one, float(rng.uniform(0, 180)), origin=(0, 0))
    return cast(Polygon, affinity.translate(turned, *map(float, at)))


def _covered(outline: Polygon, width: int, height: int) -> npt.NDArray[np.bool_]:
    """bool [H, W]: pixels of which most lies within."""
    canvas = np.zeros((height * SUBSAMPLES, width * SUBSAMPLES), np.uint8)
    rings = [np.asarray(ring.coords) * SUBSAMPLES - 0.5 for ring in (outline.exterior, *outline.interiors)]
    cv2.fillPoly(canvas, [np.round(ring * 16).astype(np.int32) for ring in rings], 255, shift=4)
    return np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) > 127)


def _located(outline: Polygon, world: World) -> WorldObject:
    """The area by geodesics through very many points, the centroid by a grid of points within, as vectors from the
    middle of the Earth."""
    dense = shapely.segmentize(outline, 0.25)
    area = 0.0
    for sign, ring in ((1, dense.exterior), *((-1, hole) for hole in dense.interiors)):
        longitudes, latitudes = world.to_earth(np.asarray(ring.coords))
        area += sign * abs(ELLIPSOID.polygon_area_perimeter(longitudes, latitudes)[0])
    return WorldObject(outline, _middle(outline, world), area)


def _middle(outline: Polygon, world: World) -> tuple[float, float]:
    x0, y0, x1, y1 = outline.bounds
    grid = np.stack(np.meshgrid(np.arange(x0, x1, 0.5), np.arange(y0, y1, 0.5)), axis=-1).reshape(-1, 2)
    inside = shapely.contains_xy(outline, grid[:, 0], grid[:, 1])
    longitudes, latitudes = np.radians(world.to_earth(grid[inside]))
    vectors = np.stack(
        [np.cos(latitudes) * np.cos(longitudes), np.cos(latitudes) * np.sin(longitudes), np.sin(latitudes)]
    ).mean(axis=1)
    longitude, latitude = np.arctan2(vectors[1], vectors[0]), np.arctan2(vectors[2], np.hypot(vectors[0], vectors[1]))
    return float(np.degrees(longitude)), float(np.degrees(latitude))
