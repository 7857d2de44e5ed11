"""Rasters on disk, read window by window.

A window costs memory by its own size and by that of the file's blocks, which is bounded, never by the size of the
raster. Where it is seen smaller than it is, GDAL averages, and takes overviews where the file has them.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from sam3edge.core.errors import FrameError, GeoreferenceError
from sam3edge.core.types import Box, Clock, RgbImage
from sam3edge.geo.gdal import ALONE, CLOSED, GDAL_ERRORS, open_dataset, open_virtual
from sam3edge.geo.places import steps
from sam3edge.geo.raster import RasterGeoreference, georeference_of, system_of
from sam3edge.images.bands import colored, scalable, visible_bands
from sam3edge.images.depth import Depth, DepthOptions, bounds_of, to_eight_bits
from sam3edge.images.filling import filled
from sam3edge.images.headers import HeaderError, tiff
from sam3edge.rasters.looks import Ground
from sam3edge.rasters.mask import CountingMask
from sam3edge.rasters.options import ReadOptions
from sam3edge.rasters.windows import seen

CACHE_BYTES = 256 << 20
"""What GDAL keeps of unpacked blocks: a row of tiles across 30,000 pixels of three 16-bit bands, in strips, fits."""

MAX_BLOCK_BYTES = 256 << 20
"""A file whose blocks are larger when unpacked is refused: each is unpacked whole, whatever is read of it."""

MAX_UNTILED_PIXELS = 100_000_000
"""Formats other than TIFF may have to be decoded as a whole (interlaced PNG, progressive JPEG)."""

OVERVIEW_SIDE = 1024
"""Pixels of the longer side of what the stretch is found by."""

UNEVEN = 0.37
"""Where in a pixel the origin of a reference system is taken to belong to the next: rasters begin at whole and half
pixels, and must not fall to one side or the other by the last digit of their coordinates."""

FARTHEST = 2.0**40
"""Pixels from the origin up to which it says where a raster's pixels begin; a number leaves few digits for more."""

_NOT_RGB: Mapping[int, str] = {5: "CMYK", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*"}
"""Photometric interpretations of TIFF that GDAL gives as they are, where they have more than 8 bits."""

_NUMBERS = frozenset(
    {"float16", "float32", "float64", *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64))}
)
_VIRTUAL = "/vsi"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A window of a raster as it is looked at.

    Attributes:
        image: uint8 [side, side, 3], RGB; beyond the data it goes on with the colours at their rim.
        counts: bool [side, side]: within the raster, with data, and not masked.
    """

    image: RgbImage
    counts: npt.NDArray[np.bool_]


class RasterFile:
    """An opened raster. Used by one thread.

    Args:
        path: where it is.
        dataset: of rasterio.
        mask: dataset of rasterio that says which pixels count; None for all with data.
        options: how it is read.

    Raises:
        FrameError: it cannot be read with these options.
    """

    def __init__(self, path: str, dataset: Any, mask: Any, options: ReadOptions) -> None:
        self._path, self._dataset, self._options = path, dataset, options
        self.name = PurePosixPath(path).name
        self.size: tuple[int, int] = (dataset.width, dataset.height)
        with self._reading("it"):
            _require_readable(dataset, options, self.name)
            if not options.bands:
                _require_rgb(path, dataset, self.name)
            self._bands = list(options.bands) or visible_bands([color.name for color in dataset.colorinterp])
            self._palette = _palette_of(dataset) if self._bands == [1] else None
            self._all_valid = all(dataset.mask_flag_enums[band - 1] == [MaskFlags.all_valid] for band in self._bands)
            self.no_place = ""
            self.georeference = self._georeference()
        with self._reading("its mask"):
            if mask is not None:
                _require_small_blocks(mask, PurePosixPath(mask.name).name)
            self._mask = None if mask is None else self._counting(mask)

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of the file; of its overview where it is in a virtual file system."""
        if self._path.startswith(_VIRTUAL):
            return f"sha256:{hashlib.sha256(self._overview[0].tobytes()).hexdigest()}"
        return f"sha256:{_sha256(Path(self._path))}"

    @cached_property
    def identity(self) -> str:
        """What is in the raster, and which of it counts; files beside it may say so, too."""
        dataset, options = self._dataset, self._options
        beside = [_digest(options.mask), _digest(options.place.elevation)]
        return repr((self.digest, dataset.nodatavals, dataset.mask_flag_enums, beside))

    @property
    def clock(self) -> Clock:
        """Which clock ``captured_at`` is of."""
        return "device" if self._path.startswith(_VIRTUAL) else "file"

    @property
    def captured_at(self) -> datetime:
        """When the file was written; now, where it is in a virtual file system."""
        if self._path.startswith(_VIRTUAL):
            return datetime.now(timezone.utc)
        return datetime.fromtimestamp(max(0.0, Path(self._path).stat().st_mtime), timezone.utc)

    @property
    def ground(self) -> Ground:
        """How large its pixels are in the middle, and where they begin."""
        if self.georeference is None:
            return Ground(self.name, self.size, no_place=self.no_place)
        sizes = steps(self.georeference, np.array([[self.size[0] / 2, self.size[1] / 2]]))
        anchor = _anchor(self._dataset.transform)
        if not all(0 < size < math.inf for size in sizes):
            return Ground(self.name, self.size, None, anchor, "in its middle, pixels have no size")
        return Ground(self.name, self.size, sizes, anchor)

    def read(self, window: Box, side: int) -> View:
        """A window, seen as ``side`` x ``side`` pixels.

        Args:
            window: x0, y0, x1, y1 in pixels of the raster; it may reach beyond it.

        Raises:
            FrameError: these pixels cannot be read.
        """
        part = seen(window, self.size, side)
        if part is None:
            return View(np.zeros((side, side, 3), np.uint8), np.zeros((side, side), bool))
        with self._reading(f"the pixels from {part.x.start:.0f}, {part.y.start:.0f} on"):
            bands, valid = self._read(part.window, part.shape)
            clear = valid if self._mask is None else valid & self._mask.read(part)
            image = self._eight_bits(bands).transpose(1, 2, 0)
        return View(filled(part.placed(image), part.placed(valid)), part.placed(clear))

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """GDAL's errors as ours, and its settings."""
        try:
            with rasterio.Env(**_settings(self._path, str(self._options.mask or ""))):
                yield
        except (*GDAL_ERRORS, MemoryError) as error:
            raise _refusal(f"{what} cannot be read: {error}", self.name) from error

    def _counting(self, mask: Any) -> CountingMask:
        crs = system_of(self._dataset, Path(self._path), self._options.place)
        known = None if crs is None else rasterio.crs.CRS.from_wkt(crs.to_wkt())
        return CountingMask(mask, self._dataset, known, self._options.mask_values)

    def _read(self, window: Window | None, shape: tuple[int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Bands [n, h, w] as stored, and bool [h, w] where one of them holds data."""
        how = Resampling.nearest
        if window is not None and self._palette is None:
            smaller = max(window.width / shape[1], window.height / shape[0]) > 1
            how = Resampling.average if smaller else Resampling.bilinear
        whole = (len(self._bands), *shape)
        bands = self._dataset.read(self._bands, window=window, out_shape=whole, resampling=how)
        valid = np.ones(shape, bool)
        if not self._all_valid:
            valid = self._dataset.read_masks(self._bands, window=window, out_shape=whole).any(axis=0)
        if bands.dtype.kind == "f":
            valid = valid & np.isfinite(bands).all(axis=0)
        return bands, valid

    def _eight_bits(self, bands: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """uint8 [3, h, w]."""
        if self._palette is not None:
            return colored(bands[0], self._palette)
        numbers = self._numbers(bands)
        eight = np.stack([to_eight_bits(band, how) for band, how in zip(numbers, self._depths, strict=True)])
        return np.repeat(eight, 3, axis=0) if len(eight) == 1 else eight

    def _numbers(self, bands: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """As they are stretched: those of 8 bits, too, where less than their full range is asked for."""
        numbers, _ = scalable(bands, DepthOptions())
        depth = self._options.depth
        is_narrowed = depth is not None and depth.depth is not Depth.FULL_RANGE
        return numbers.astype(np.uint16) if numbers.dtype == np.uint8 and is_narrowed else numbers

    @cached_property
    def _depths(self) -> list[DepthOptions]:
        """How each band becomes 8 bits, wherever it is read."""
        kind = np.dtype(self._dataset.dtypes[0])
        wanted = self._options.depth or DepthOptions(Depth.FULL_RANGE if kind == np.uint8 else Depth.PERCENTILES)
        _, wanted = scalable(np.zeros(0, kind), wanted)
        if wanted.depth in (Depth.FULL_RANGE, Depth.FIXED):
            return [wanted] * len(self._bands)
        bands, valid = self._overview
        numbers = self._numbers(bands).astype(np.float32)
        groups = [numbers] * len(numbers) if self._options.jointly else list(numbers)
        return [_fixed(*bounds_of(group, wanted, valid)) for group in groups]

    @cached_property
    def _overview(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Bands and where they hold data, of at most ``OVERVIEW_SIDE`` pixels a side."""
        width, height = self.size
        factor = min(1.0, OVERVIEW_SIDE / max(width, height))
        with self._reading("its overview"):
            return self._read(None, (max(1, round(height * factor)), max(1, round(width * factor))))

    def _georeference(self) -> RasterGeoreference | None:
        """What is left out for want of data is cut before outlines are placed: to this, everything is valid."""
        path, options = Path(self._path), self._options.place
        try:
            return georeference_of(self._dataset, path, options, lambda bounds: shapely.box(*bounds))
        except GeoreferenceError as error:
            self.no_place = str(error)
            return None


@contextmanager
def open_raster_file(path: str | Path, options: ReadOptions) -> Iterator[RasterFile]:
    """A raster: a TIFF, or an image that the device decodes, too.

    Args:
        path: of a file; in a virtual file system of GDAL's only where ``options`` allow it.

    Raises:
        FrameError: it is not there, not a raster, or cannot be read.
    """
    with ExitStack() as stack:
        dataset = stack.enter_context(_opened(str(path), options))
        mask = None if options.mask is None else stack.enter_context(_opened(str(options.mask), options))
        yield RasterFile(str(path), dataset, mask, options)


def _opened(name: str, options: ReadOptions) -> Any:
    try:
        with rasterio.Env(**_settings(name)):
            if not name.startswith(_VIRTUAL):
                if not Path(name).is_file():
                    what = "is a folder" if Path(name).is_dir() else "is not there"
                    raise _refusal(
                        f"expected a file, {name} {what}; for other places give GDAL's name, such as /vsis3/...", name
                    )
                return open_dataset(Path(name).absolute())  # which nobody takes for an address
            if not name.startswith(options.virtual):
                raise _refusal("expected a file; GDAL's virtual file systems are read where they are allowed", name)
            return open_virtual(name)
    except GeoreferenceError as error:
        raise _refusal(str(error), name) from error


def _require_readable(dataset: Any, options: ReadOptions, name: str) -> None:
    pixels = dataset.width * dataset.height
    kinds = sorted(set(dataset.dtypes))
    if len(kinds) != 1 or kinds[0] not in _NUMBERS:
        raise _refusal(f"expected bands of one kind of whole or floating point numbers, got {kinds}", name)
    if max(options.bands, default=1) > dataset.count:
        raise _refusal(f"expected bands of 1 to {dataset.count}, got {max(options.bands)}", name)
    if pixels > options.max_pixels:
        raise _refusal(
            f"expected at most {options.max_pixels} pixels, the header says {dataset.width} x {dataset.height}; raise "
            "max_pixels if rasters of this size are meant to come",
            name,
        )
    _require_small_blocks(dataset, name)


def _require_small_blocks(dataset: Any, name: str) -> None:
    pixels = dataset.width * dataset.height
    interleaved = dataset.count if dataset.profile.get("interleave") == "pixel" else 1
    sample = max(np.dtype(kind).itemsize for kind in dataset.dtypes)
    block = max(h * w for h, w in dataset.block_shapes) * sample * interleaved
    untiled = dataset.driver != "GTiff" and pixels > MAX_UNTILED_PIXELS
    if block > MAX_BLOCK_BYTES or untiled:
        raise _refusal(
            f"reading any part of it takes {pixels if untiled else block} bytes or more; make it a tiled TIFF first, "
            "by gdal_translate -of COG",
            name,
        )


def _require_rgb(path: str, dataset: Any, name: str) -> None:
    """Refuse colours that would be taken for red, green and blue. Those of 8 bits GDAL converts."""
    if dataset.driver != "GTiff" or dataset.count < 3 or ColorInterp.red in dataset.colorinterp:
        return
    colors = "CMYK" if ColorInterp.cyan in dataset.colorinterp else ""
    if not colors and not path.startswith(_VIRTUAL):
        colors = _NOT_RGB.get(_photometric(path) or 0, "")
    if colors:
        raise _refusal(f"expected RGB, got {colors}; convert it to RGB, or say which bands are looked at", name)


def _photometric(path: str) -> int | None:
    with Path(path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        data = memoryview(mapped)
        try:
            return tiff.photometric(data)
        except (HeaderError, IndexError):  # which GDAL has read nevertheless
            return None
        finally:
            data.release()


def _palette_of(dataset: Any) -> Mapping[int, tuple[int, int, int, int]] | None:
    if dataset.colorinterp[0] is not ColorInterp.palette or dataset.dtypes[0] != "uint8":
        return None
    try:
        return dict(dataset.colormap(1))
    except ValueError:  # it says that it has one, and has none
        return None


def _anchor(transform: Any) -> tuple[int, int]:
    if transform.is_identity:
        return 0, 0
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    x, y = np.linalg.solve(linear, [transform.c, transform.f])
    if not max(abs(x), abs(y)) < FARTHEST:
        return 0, 0
    return math.floor(x + UNEVEN), math.floor(y + UNEVEN)


def _settings(*names: str) -> Mapping[str, Any]:
    """For GDAL: how much it keeps, and that no other computers are asked but for files in virtual file systems."""
    virtual = any(name.startswith(_VIRTUAL) for name in names)
    return {"GDAL_CACHEMAX": CACHE_BYTES, **(ALONE if virtual else CLOSED)}


def _refusal(reason: str, name: str) -> FrameError:
    return FrameError(" ".join(reason.split()), frame_id="", name=name)


def _fixed(dark: float, bright: float) -> DepthOptions:
    """Counts that become black and white; a raster of one value becomes black."""
    return DepthOptions(Depth.FIXED, (dark, bright if bright > dark else dark + max(1.0, abs(dark))))


def _digest(beside: str | Path | None) -> str:
    """Of a file beside the raster; empty where there is none, or where its name is all that is known of it."""
    return _sha256(Path(beside)) if beside is not None and Path(beside).is_file() else ""


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            hashed.update(piece)
    return hashed.hexdigest()
