"""Images that know themselves where they are: GeoTIFF, and images with a world file and a .prj beside them.

What is taken, in this order: CRS and affine transform (of the file, else of the world file); ground control points;
rational polynomial coefficients (RPC), with the ground at a height that is given, or where an elevation model has it.
GDAL counts pixels as we do, from the corner of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError as RasterCRSError
from rasterio.features import shapes
from rasterio.transform import AffineTransformer, GCPTransformer, RPCTransformer
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, Polygon, shape

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Points, Stance
from sam3edge.core.polygons import areas_only
from sam3edge.core.types import Box
from sam3edge.geo.camera import RADIUS_95
from sam3edge.geo.gdal import GDAL_ERRORS, opened
from sam3edge.geo.places import ELLIPSOID
from sam3edge.geo.plane import WGS84, finite, wrapped
from sam3edge.geo.terrain import TerrainGrid, open_terrain

SPOTS = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
"""Shares of width and height; a raster of which none of these has a place has none."""

CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))

PolygonOf: TypeAlias = Callable[[Box], Polygon | MultiPolygon]


RPC_PIXELS = 1e-3
"""Pixels to which the inverse of RPCs is found."""


@dataclass(frozen=True, slots=True)
class RasterOptions:
    """What a raster does not say of itself.

    Attributes:
        crs: of rasters that name none, as PROJ reads it (``EPSG:25833``); empty where all do.
        accuracy: metres within which the raster's own positions are right in 95 of 100 cases; 0 where nobody knows.
        height: metres above the ellipsoid of the ground, for RPCs; where there is an elevation model, what is added to
            its heights: those of the geoid above the ellipsoid there, for models that count from the geoid.
        height_accuracy: standard deviation of that, or of the elevation model, metres.
        elevation: an elevation model, for RPCs: a GeoTIFF, or a file of SRTM (.hgt); None where there is none.
    """

    crs: str = ""
    accuracy: float = 0.0
    height: float = 0.0
    height_accuracy: float = 10.0
    elevation: Path | None = None


class PixelGrid(Protocol):
    """From pixels to coordinates of a raster's own reference system, and back."""

    @property
    def error(self) -> float:
        """Metres within which it is right in 95 of 100 cases, by what is known of it."""

    def forward(self, pixels: Points) -> Points:
        """[n, 2] pixels -> x, y; NaN where there are none."""

    def back(self, coordinates: Points) -> Points:
        """[n, 2] x, y -> pixels; NaN where there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A ``PixelGrid``.

    Attributes:
        transformer: one of rasterio's.
        height: metres, where the transformer wants one.
        error: see ``PixelGrid``.
    """

    transformer: Any
    height: float = 0.0
    error: float = 0.0

    def forward(self, pixels: Points) -> Points:
        """See ``PixelGrid``."""
        heights = np.full(len(pixels), self.height)
        return finite(*self.transformer.xy(pixels[:, 1], pixels[:, 0], zs=heights, offset="ul"))

    def back(self, coordinates: Points) -> Points:
        """See ``PixelGrid``."""
        heights, x, y = np.full(len(coordinates), self.height), coordinates[:, 0].copy(), coordinates[:, 1].copy()
        rows, columns = self.transformer.rowcol(x, y, zs=heights, op=np.positive)  # positive: as they are, not rounded
        return finite(columns, rows)


class RasterGeoreference:
    """A ``Georeference``.

    Args:
        size: width and height in pixels.
        grid: from pixels to ``crs``.
        crs: the raster's reference system.
        accuracy: metres within which its positions are right in 95 of 100 cases, beside what the grid knows.
        valid: see ``Georeference``.
    """

    def __init__(self, size: tuple[int, int], grid: PixelGrid, crs: CRS, accuracy: float, valid: PolygonOf) -> None:
        if crs.is_geocentric:
            raise GeoreferenceError(f"expected a geographic or projected reference system, got {crs.name}; mend it")
        self._size = size
        self._grid = grid
        self._to_world = Transformer.from_crs(crs, WGS84, always_xy=True)
        self._turn = _turn_of(crs)
        self._valid = valid
        spots = np.array(SPOTS) * size
        middle = self._grid.forward(spots)[:, 0]
        located = np.isfinite(middle)
        self._middle = float(middle[located][0]) if located.any() else 0.0
        if not np.isfinite(self.to_world(spots)).any():
            raise GeoreferenceError(f"the middle of the raster has no place on Earth in {crs.name}; mend its reference")
        if crs.is_geographic:
            self._require_once_round(self._turn / 360.0)
        self._error = float(np.hypot(np.hypot(accuracy, grid.error), _datum_error(self._to_world)))

    @property
    def size(self) -> tuple[int, int]:
        """See ``Georeference``."""
        return self._size

    @property
    def stance(self) -> Stance:
        """See ``Georeference``."""
        return "above"

    def to_world(self, pixels: Points) -> Points:
        """See ``Georeference``."""
        at = self._grid.forward(pixels)
        positions = finite(*self._to_world.transform(at[:, 0], at[:, 1]))
        positions[:, 0] = wrapped(positions[:, 0])
        positions[np.abs(positions[:, 1]) > 90.0] = np.nan  # rasters in degrees may reach beyond a pole
        return positions

    def to_pixels(self, positions: Points) -> Points:
        """See ``Georeference``."""
        at = finite(*self._to_world.transform(positions[:, 0], positions[:, 1], direction="INVERSE"))
        if self._turn:  # a raster across the antimeridian counts on beyond it
            at[:, 0] = self._middle + wrapped(at[:, 0] - self._middle, self._turn)
        return self._grid.back(at)

    def accuracy(self, pixels: Points) -> npt.NDArray[np.float64]:
        """See ``Georeference``: half the diagonal of a pixel on the ground, and what is known of the raster."""
        one, other = self.to_world(pixels - 0.5), self.to_world(pixels + 0.5)
        _, _, diagonal = ELLIPSOID.inv(one[:, 0], one[:, 1], other[:, 0], other[:, 1])
        return np.asarray(np.hypot(np.asarray(diagonal) / 2, self._error))

    def valid(self, bounds: Box) -> Polygon | MultiPolygon:
        """See ``Georeference``: within the raster, without NoData and what its mask leaves out."""
        return self._valid(bounds)

    def _require_once_round(self, degree: float) -> None:
        """Refuse a raster that shows places twice, but for a pixel: positions may be those of the middles of pixels."""
        wide, high = np.ptp(self._grid.forward(np.array(CORNERS) * self._size), axis=0) / degree
        more = 1 + 1 / min(self._size)
        if wide > 360.0 * more or high > 180.0 * more:  # not where a corner has none, as of RPCs
            raise GeoreferenceError(
                f"expected a raster of at most 360 x 180 degrees, got {wide:g} x {high:g}; mend its reference"
            )


def require_crs(crs: str) -> None:
    """Refuse what PROJ does not know; nothing is asked for where it is empty.

    Raises:
        GeoreferenceError: it says what PROJ reads.
    """
    try:
        CRS.from_user_input(crs) if crs else None
    except CRSError as error:
        raise GeoreferenceError(
            f"expected a reference system as PROJ reads it, such as EPSG:25833, got {crs}"
        ) from error


def open_raster(path: Path, options: RasterOptions) -> RasterGeoreference:
    """The georeference of an image file.

    Raises:
        GeoreferenceError: it has none, or none that can be used.
    """
    with opened(path) as dataset:
        return georeference_of(dataset, path, options, _valid_of(dataset, path))


def georeference_of(dataset: Any, path: Path, options: RasterOptions, valid: PolygonOf) -> RasterGeoreference:
    """The georeference of an opened image file.

    Args:
        dataset: of rasterio.
        path: what the .prj lies beside.
        valid: see ``Georeference``.

    Raises:
        GeoreferenceError: it has none, or none that can be used.
    """
    try:
        grid, crs = _grid_of(dataset, path, options)
        return RasterGeoreference((dataset.width, dataset.height), grid, crs, options.accuracy, valid)
    except (CRSError, ProjError, RasterCRSError) as error:  # ProjError for those that are nowhere on Earth
        raise GeoreferenceError(f"PROJ cannot read the reference system of {path.name}: {error}") from error
    except GDAL_ERRORS as error:
        raise GeoreferenceError(
            f"the place of {path.name} cannot be computed from what it says: {error}; mend its reference"
        ) from error


def system_of(dataset: Any, path: Path, options: RasterOptions) -> CRS | None:
    """What the positions are in that an image file's affine transform leads to; None where it has none, as where its
    place comes from control points or RPCs."""
    if dataset.transform.is_identity:
        return None
    try:
        return _crs_of(dataset.crs, path, options)
    except (GeoreferenceError, CRSError):
        return None


def _turn_of(crs: CRS) -> float:
    """By how much x is larger once around the globe: where longitudes are straight and equally far from each other, as
    in degrees and in Mercator's projection; 0 elsewhere."""
    if crs.is_geographic:
        return 360.0 / float(np.degrees(crs.axis_info[0].unit_conversion_factor))
    if crs.geodetic_crs is None or not crs.is_projected:
        return 0.0
    onto = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    for longitude in (0.0, 90.0):  # one of which is not where the projection is cut
        at = longitude + np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0])
        x = finite(*onto.transform(at, [0.0, 0.0, 0.0, 45.0, 45.0, 45.0]))[:, 0]
        degrees = np.diff(x.reshape(2, 3), axis=1)
        if np.isfinite(degrees).all() and np.ptp(degrees) < 1e-9 * abs(degrees[0, 0]):
            return abs(float(degrees[0, 0])) * 360.0
    return 0.0


def _datum_error(used: Transformer) -> float:
    """Metres by which the way from one datum to another may be off, as far as PROJ knows; it chooses among several by
    the first point that it is given."""
    if used.accuracy >= 0:
        return used.accuracy
    try:
        return max(0.0, used.get_last_used_operation().accuracy)
    except ProjError:  # there was nothing to do
        return 0.0


def _grid_of(dataset: Any, path: Path, options: RasterOptions) -> tuple[PixelGrid, CRS]:
    points, points_crs = dataset.gcps
    if not dataset.transform.is_identity:
        if dataset.transform.is_degenerate:
            raise GeoreferenceError(f"expected a transform with pixels of some size, got {dataset.transform!r}")
        return Grid(AffineTransformer(dataset.transform)), _crs_of(dataset.crs, path, options)
    if points:
        if len(points) < 3:
            raise GeoreferenceError(f"expected 3 ground control points or more, {path.name} has {len(points)}")
        return _fitted(points, _crs_of(points_crs, path, options))
    if dataset.rpcs is not None:
        return _by_rpcs(dataset, options), CRS.from_user_input(WGS84)
    raise GeoreferenceError(f"expected a GeoTIFF or a world file beside {path.name}, got neither")


def _crs_of(crs: Any, path: Path, options: RasterOptions) -> CRS:
    """Of the file, else of the .prj beside it, else of the configuration."""
    if crs:
        return CRS.from_wkt(crs.to_wkt(version="WKT2_2019"))
    for beside in (path.with_suffix(".prj"), path.with_suffix(".PRJ")):
        if beside.is_file():
            return CRS.from_wkt(beside.read_text(encoding="utf-8", errors="replace"))
    if options.crs:
        return CRS.from_user_input(options.crs)
    raise GeoreferenceError(
        f"{path.name} names no reference system; put a .prj beside it, or say it (Georeference.Crs, --crs)"
    )


def _fitted(points: Any, crs: CRS) -> tuple[Grid, CRS]:
    """GDAL's polynomial through ground control points: of the second order from six points on, else an affine one."""
    grid = Grid(GCPTransformer(points))
    at = np.array([[p.col, p.row] for p in points], np.float64)
    given = np.array([[p.x, p.y] for p in points], np.float64)
    to_world = Transformer.from_crs(crs, WGS84, always_xy=True)
    fitted = finite(*to_world.transform(*grid.forward(at).T))
    truth = finite(*to_world.transform(*given.T))
    if not np.isfinite(fitted).all():
        raise GeoreferenceError("the ground control points do not span an area: expected some beside one line")
    _, _, off = ELLIPSOID.inv(*fitted.T, *truth.T)
    step = finite(*to_world.transform(*grid.forward(at + 1.0).T))
    _, _, pixel = ELLIPSOID.inv(*fitted.T, *step.T)
    freedom = 2 * len(points) - (12 if len(points) >= 6 else 6)
    sigma = np.sqrt(np.square(off).sum() / freedom) if freedom > 0 else 0.0
    return Grid(grid.transformer, error=RADIUS_95 * max(float(sigma), float(np.median(pixel)))), crs


def _by_rpcs(dataset: Any, options: RasterOptions) -> PixelGrid:
    """With the supplier's own errors, and what a ground that is higher or lower does."""
    rpcs = dataset.rpcs
    transformer = RPCTransformer(rpcs, rpc_pixel_error_threshold=str(RPC_PIXELS))
    height = options.height if options.elevation is None else rpcs.height_off
    middle = np.array([[dataset.width / 2, dataset.height / 2]])
    here = Grid(transformer, height).forward(middle)[0]
    above = Grid(transformer, height + options.height_accuracy).forward(middle)[0]
    _, _, slid = ELLIPSOID.inv(*here, *above)
    stated = np.hypot(max(0.0, rpcs.err_bias or 0.0), max(0.0, rpcs.err_rand or 0.0))
    error = RADIUS_95 * float(np.hypot(stated, slid))
    if options.elevation is None:
        return Grid(transformer, height, error)
    edge = np.array([[x, y] for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)]) * (dataset.width, dataset.height)
    heights = rpcs.height_off + rpcs.height_scale * np.array([-1.0, 0.0, 1.0])  # between which RPCs are good
    around = np.concatenate([Grid(transformer, one).forward(edge) for one in heights])
    return TerrainGrid(transformer, open_terrain(options.elevation, around, options.height), height, error)


def _valid_of(dataset: Any, path: Path) -> PolygonOf:
    size = (dataset.width, dataset.height)
    everywhere = all(flags == [MaskFlags.all_valid] for flags in dataset.mask_flag_enums)

    def valid(bounds: Box) -> Polygon | MultiPolygon:
        x0, y0 = max(0, int(np.floor(bounds[0]))), max(0, int(np.floor(bounds[1])))
        x1, y1 = min(size[0], int(np.ceil(bounds[2]))), min(size[1], int(np.ceil(bounds[3])))
        if x0 >= x1 or y0 >= y1:
            return Polygon()
        if everywhere:
            return shapely.box(x0, y0, x1, y1)
        return _unmasked(path, Window(x0, y0, x1 - x0, y1 - y0))

    return valid


def _unmasked(path: Path, window: Window) -> Polygon | MultiPolygon:
    """The pixels of a window that hold data in any band."""
    with opened(path) as dataset:
        mask = dataset.dataset_mask(window=window)
    return shapely.transform(area_of(mask > 0), lambda at: at + np.array([window.col_off, window.row_off], np.float64))


def area_of(pixels: npt.NDArray[np.bool_]) -> Polygon | MultiPolygon:
    """What these pixels cover, valid; empty where none is true.

    Args:
        pixels: bool [h, w].
    """
    height, width = pixels.shape
    if pixels.all():
        return shapely.box(0, 0, width, height)
    pieces = [shape(outline) for outline, value in shapes(pixels.astype(np.uint8), mask=pixels) if value]
    return areas_only(shapely.union_all(pieces)) if pieces else Polygon()
