"""The command line: ``python -m sam3edge_pipeline.batch``.

    images s3://bucket/2026/ items.json --prompts "car, building@0.5" --bundle bundles/sam3-1.0.0 --out found

Exit status: 0 done; 1 some rasters could not be read; 2 something given is wrong, which the last line of the output
names. Started again, it goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import boto3
import typer
from rich.markup import escape

from sam3edge.bundle.verify import model_files, verify
from sam3edge.geo.raster import RasterOptions, require_crs
from sam3edge.rasters import texts
from sam3edge.rasters.options import ReadOptions, SegmentOptions
from sam3edge.terminal import errors_in_words, progress, say
from sam3edge_pipeline.batch.inputs import RasterInput, find_rasters
from sam3edge_pipeline.batch.results import Report
from sam3edge_pipeline.batch.runners import RayProcesses, Runner, ThisProcess
from sam3edge_pipeline.batch.work import Task

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def batch(
    places: Annotated[
        list[str],
        typer.Argument(help="Rasters, folders, .txt lists, s3:// prefixes, STAC items (.json).", metavar="PLACE..."),
    ],
    prompts: Annotated[
        str, typer.Option(help="Phrases with commas between; phrase@0.5 is looked for at half a metre a pixel.")
    ],
    out: Annotated[Path, typer.Option(help="Folder; its folder features is one GeoParquet table in shards.")],
    bundle: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("assets/demo-bundle"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Scores above this count.")] = 0.5,
    bands: Annotated[str, typer.Option(help="Red, green, blue, or grey, such as 4,3,2.")] = "",
    stretch: Annotated[str, typer.Option(help="As of sam3edge raster.")] = "",
    largest: Annotated[str, typer.Option(help="Up to which size objects are seen whole, 120m or 300px.")] = "",
    crs: Annotated[str, typer.Option(help="Reference system of rasters that name none, such as EPSG:25833.")] = "",
    elevation: Annotated[
        Path | None, typer.Option(help="Elevation model for rasters with RPCs: a GeoTIFF, or a file of SRTM (.hgt).")
    ] = None,
    ground_height: Annotated[
        float, typer.Option(help="For RPCs: metres of the ground above the ellipsoid; added to --elevation.")
    ] = 0.0,
    asset: Annotated[str, typer.Option(help="Key of the asset of STAC items; by default the only raster.")] = "",
    allow: Annotated[list[str] | None, typer.Option(help="A file system of GDAL's to read, such as /vsicurl/.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with a model; one needs no Ray.")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Of each model; 0 for one with several workers, else for one a core.")
    ] = 0,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker, or a part of one.")] = 0.0,
    address: Annotated[str, typer.Option(help="Of a Ray cluster that has this package, the bundle and OUT.")] = "",
) -> None:
    """Find what the prompts name in many rasters."""
    with errors_in_words():
        require_crs(crs)
        files = model_files(bundle, verify(bundle, None))
        reading = ReadOptions(
            bands=texts.read_bands(bands) if bands else (),
            depth=texts.read_depth(stretch) if stretch else None,
            place=RasterOptions(crs=crs, height=ground_height, elevation=elevation and elevation.resolve()),
            virtual=tuple(allow or ()),
        )
        options = SegmentOptions(
            reading=reading, tile=files.input_size, largest=texts.read_size(largest) if largest else None
        )
        runner: Runner = RayProcesses(workers, address, gpus) if workers > 1 or address else ThisProcess()
        share = 1 if workers > 1 else 0
        task = Task(bundle.resolve(), texts.read_prompts(prompts, threshold), options, out.resolve(), threads or share)
        rasters = find_rasters(places, asset, partial(boto3.client, "s3"))
        reports = _followed(runner, task, rasters)
    failed = [report for report in reports if report.error]
    for report in failed:
        say(f"[bold red]skipped[/] {escape(report.path)}: {escape(report.error)}")
    for report in reports:
        if report.no_place:
            say(f"[bold yellow]without places on Earth[/] {escape(report.path)}: {escape(report.no_place)}")
    if unknown := sorted({prompt for report in reports for prompt in report.unsupported_prompts}):
        say(f"the model does not know {escape(', '.join(unknown))}")
    found, before = sum(report.features for report in reports), sum(report.resumed for report in reports)
    earlier = f", {before} of them earlier" if before else ""
    say(f"{found} found in {len(reports) - len(failed)} rasters{earlier}, in {escape(str(out / 'features'))}")
    raise typer.Exit(1 if failed else 0)


def _followed(runner: Runner, task: Task, rasters: Sequence[RasterInput]) -> list[Report]:
    """With a bar."""
    reports = []
    with progress() as bar:
        counted = bar.add_task("rasters", total=len(rasters))
        for report in runner.run(task, rasters):
            reports.append(report)
            bar.advance(counted)
    return reports


if __name__ == "__main__":
    app(prog_name="python -m sam3edge_pipeline.batch", args=sys.argv[1:])
