"""``sam3edge raster``: objects in a raster of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from sam3edge.terminal import errors_in_words, progress, say

if TYPE_CHECKING:
    from rich.progress import Progress

    from sam3edge.core.messages.features import Feature
    from sam3edge.rasters.segment import RasterRun

DEVICE = "command-line"
"""Where a device writes its name."""

COLLECTIONS, LINES = (".geojson", ".json"), (".ndjson", ".geojsonl")
"""How files end that hold one FeatureCollection, and a feature a line. Others are of ``vector.files``."""

Write: TypeAlias = "Callable[[RasterRun, Iterable[Feature]], object]"
"""Writes the features of a run into a file, whole or not at all."""


def raster(
    path: Annotated[
        str, typer.Argument(metavar="RASTER", help="A TIFF, or another image; a /vsi... name of GDAL's with --allow.")
    ],
    prompts: Annotated[
        str, typer.Option(help="Phrases with commas between; phrase@0.5 is looked for at half a metre a pixel.")
    ],
    out: Annotated[Path, typer.Option(help="Ends in .geojson, .ndjson, .gpkg, .fgb, .parquet or .coco.json.")],
    bundle: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("assets/demo-bundle"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Scores above this count.")] = 0.5,
    tile: Annotated[int, typer.Option(help="Pixels of a tile's side, 64 to 4096; the model's input by default.")] = 0,
    largest: Annotated[
        str, typer.Option(help="Up to which size objects are seen whole, 120m or 300px; a quarter tile by default.")
    ] = "",
    bands: Annotated[str, typer.Option(help="Red, green, blue, or grey, such as 4,3,2.")] = "",
    stretch: Annotated[
        str,
        typer.Option(help="percentiles, percentiles:2,98, min-max, full-range, or counts that become black and white."),
    ] = "",
    jointly: Annotated[bool, typer.Option("--jointly", help="Stretch all bands alike.")] = False,
    mask: Annotated[str, typer.Option(help="A raster that says which pixels count.")] = "",
    mask_values: Annotated[str, typer.Option(help="Its values that count, such as 4,5; all but 0 by default.")] = "",
    extent: Annotated[str, typer.Option(help="The part that counts, x0,y0,x1,y1 in pixels.")] = "",
    crs: Annotated[str, typer.Option(help="Reference system of a raster that names none, such as EPSG:25833.")] = "",
    elevation: Annotated[
        Path | None, typer.Option(help="Elevation model for rasters with RPCs: a GeoTIFF, or a file of SRTM (.hgt).")
    ] = None,
    ground_height: Annotated[
        float, typer.Option(help="For RPCs: metres of the ground above the ellipsoid; added to --elevation.")
    ] = 0.0,
    allow: Annotated[list[str] | None, typer.Option(help="A file system of GDAL's to read, such as /vsis3/.")] = None,
    max_pixels: Annotated[int, typer.Option(help="Rasters with more pixels are refused.")] = 20_000_000_000,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File by which an ended run goes on; beside the output by default.")
    ] = None,
) -> None:
    """Find what the prompts name in a raster of any size, tile by tile. Ended and started again, it goes on."""
    with errors_in_words(), ExitStack() as stack:
        from sam3edge.bundle.verify import model_files, verify
        from sam3edge.engines.open_engine import open_engine
        from sam3edge.geo.raster import RasterOptions, require_crs
        from sam3edge.rasters import texts
        from sam3edge.rasters.checkpoint import open_checkpoint
        from sam3edge.rasters.options import ReadOptions, SegmentOptions
        from sam3edge.rasters.raster_file import open_raster_file
        from sam3edge.rasters.segment import RasterRun

        write = _writer_for(out)
        require_crs(crs)
        asked = texts.read_prompts(prompts, threshold)
        reading = ReadOptions(
            bands=texts.read_bands(bands) if bands else (),
            depth=texts.read_depth(stretch) if stretch else None,
            jointly=jointly,
            place=RasterOptions(crs=crs, height=ground_height, elevation=elevation),
            mask=mask or None,
            mask_values=texts.read_values(mask_values) if mask_values else (),
            virtual=tuple(allow or ()),
            max_pixels=max_pixels,
        )
        source = stack.enter_context(open_raster_file(path, reading))
        files = model_files(bundle, verify(bundle, None))
        options = SegmentOptions(
            reading=reading,
            tile=tile or files.input_size,
            largest=texts.read_size(largest) if largest else None,
            extent=texts.read_extent(extent) if extent else None,
        )
        kept = checkpoint or out.with_name(f".{out.name}.checkpoint")
        store = stack.enter_context(open_checkpoint(kept))
        engine = stack.enter_context(closing(open_engine(files)))
        run = RasterRun(source, engine, asked, options, store)
        count = _written(run, out, write)
        if source.no_place:
            say(f"[bold yellow]without places on Earth:[/] {escape(source.no_place)}")
        if run.unsupported_prompts:
            say(f"the model does not know {escape(', '.join(sorted(run.unsupported_prompts)))}")
        say(f"{count} found, in {escape(str(out))}")
        if checkpoint is None:
            store.remove()


def _writer_for(out: Path) -> Write:
    """By the end of the file's name; known before anything is looked at."""
    from sam3edge.core.errors import SettingsError
    from sam3edge.rasters.feature_files import write_collection, write_lines

    if out.is_dir():
        raise SettingsError(f"expected the name of a file, {out} is a folder")
    if out.suffix.lower() in COLLECTIONS and not out.name.lower().endswith(".coco.json"):
        return lambda run, features: write_collection(out, features, lambda: run.collection(DEVICE))
    if out.suffix.lower() in LINES:
        return lambda run, features: write_lines(out, features)
    try:
        from sam3edge.vector.files import FORMATS, write_features
        from sam3edge.vector.rows import features_of
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"expected a file that ends in {', '.join(COLLECTIONS + LINES)}, got {out.name}; for GIS programs' formats "
            "pip install 'sam3edge[client,vector]'"
        ) from error
    if not any(out.name.lower().endswith(end) for end in FORMATS):
        ends = dict.fromkeys([*COLLECTIONS, *LINES, *FORMATS])
        raise SettingsError(f"expected a file that ends in {', '.join(ends)}, got {out.name}")
    return lambda run, features: write_features(out, features_of({**run.collection(DEVICE), "features": features}))


def _written(run: RasterRun, out: Path, write: Write) -> int:
    """Returns the number of features."""
    from sam3edge.core.errors import SettingsError

    count = 0

    def features(bar: Progress) -> Iterator[Feature]:
        nonlocal count
        task = bar.add_task("tiles", total=None)
        for one in run.features(lambda done, total: bar.update(task, completed=done, total=total)):
            count += 1
            yield one

    try:
        with progress() as bar:
            write(run, features(bar))
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror or error}") from error
    return count
