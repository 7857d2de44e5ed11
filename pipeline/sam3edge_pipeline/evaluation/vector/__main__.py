"""The command line: ``python -m sam3edge_pipeline.evaluation.vector``.

    field.tif detections.gpkg survey.shp --out report --attribute CROP --class "F16=field" --class "F10=field"

Detections are a file that ``sam3edge convert`` has written, or any other of GDAL's formats with the attribute
``prompt``. Exit status: 0 done; 2 something given is wrong, which the last line of the output names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sam3edge.core.errors import SettingsError
from sam3edge.terminal import errors_in_words, progress, say
from sam3edge_pipeline.evaluation.report_files import PAGE
from sam3edge_pipeline.evaluation.vector.classes import Classes
from sam3edge_pipeline.evaluation.vector.dates import required_period
from sam3edge_pipeline.evaluation.vector.evaluation import MapInputs, MapOptions, OnWindow, evaluate_map
from sam3edge_pipeline.evaluation.vector.preparation import DetectionColumns, TruthColumns
from sam3edge_pipeline.evaluation.vector.report import text_report, write_map_report
from sam3edge_pipeline.evaluation.vector.source import VectorSource

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MAX_BLUR = 255
"""Pixels; OpenCV's median filter of larger squares takes minutes a window."""


@app.command()
def evaluate(
    raster: Annotated[Path, typer.Argument(help="The image that the detections were made on: a GeoTIFF.")],
    detections: Annotated[Path, typer.Argument(help="What was detected, with an attribute that names the prompt.")],
    truth: Annotated[Path, typer.Argument(help="What is there, in any format that GDAL reads.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    attribute: Annotated[
        str, typer.Option(help="Of the truth: what an area is.", show_default="none: all are one class")
    ] = "",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="VALUE=PROMPT: the areas with this value of the attribute are what the prompt asks for; * for all "
            "other values. May be repeated; where areas overlap, the first counts.",
            show_default="values are prompts",
        ),
    ] = None,
    layer: Annotated[str, typer.Option(help="Of the truth, if it has several.", show_default="the only one")] = "",
    detections_layer: Annotated[str, typer.Option(help="Of the detections.", show_default="detections")] = "",
    detections_attribute: Annotated[
        str, typer.Option(help="Of the detections: the prompt, or the label.")
    ] = DetectionColumns().prompt,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Detections with greater scores count.")] = 0.0,
    truth_crs: Annotated[
        str, typer.Option(help="Where the truth names no reference system, such as EPSG:25833.", show_default="its own")
    ] = "",
    truth_date: Annotated[str, typer.Option(help="When the truth was drawn.", show_default="unknown")] = "",
    date_attribute: Annotated[
        str, typer.Option(help="Of the truth: when each area was drawn.", show_default="none")
    ] = "",
    raster_date: Annotated[str, typer.Option(help="When the raster was taken.", show_default="what its tags say")] = "",
    max_days: Annotated[
        int, typer.Option(min=0, help="Between truth and raster, before the report warns.")
    ] = MapOptions().max_days,
    iou: Annotated[
        float, typer.Option(min=0.01, max=1, help="Overlap of outlines from which on an object is found.")
    ] = MapOptions().iou,
    median_blur: Annotated[
        int, typer.Option(min=1, max=MAX_BLUR, help="Side of a median filter against speckle, pixels, odd; 1 for none.")
    ] = MapOptions().blur,
) -> None:
    """Judge detections on a raster by areas that somebody has drawn on a map."""
    with errors_in_words(), _progress() as on_window:
        if not attribute and not classes:
            raise SettingsError("say by --attribute what areas are, or by --class '*=PROMPT' that all are one class")
        if median_blur % 2 == 0:
            raise SettingsError(f"expected an odd number of pixels as --median-blur, got {median_blur}")
        if truth_date and date_attribute:
            raise SettingsError("expected --truth-date or --date-attribute, got both")
        if out.exists() and not out.is_dir():
            raise SettingsError(f"expected a folder as --out, {out} is none")
        inputs = MapInputs(
            raster,
            VectorSource(detections, detections_layer),
            VectorSource(truth, layer, truth_crs),
            Classes(classes or ()),
            DetectionColumns(detections_attribute, threshold),
            TruthColumns(attribute, date_attribute),
        )
        options = MapOptions(
            iou=iou,
            blur=median_blur,
            max_days=max_days,
            raster_date=required_period(raster_date, "--raster-date"),
            truth_date=required_period(truth_date, "--truth-date"),
        )
        evaluation = evaluate_map(inputs, options, on_window)
        try:
            document = write_map_report(evaluation, inputs, options, out)
        except OSError as error:
            raise SettingsError(f"{out} cannot be written: {error.strerror}") from error
    for warning in evaluation.warnings:
        say(f"[bold yellow]note:[/] {escape(warning)}")
    every = document["objects"]["all"]
    sys.stdout.write(text_report(document))
    f1 = "not defined" if every["f1"] is None else f"{every['f1']:.2f}"
    sys.stdout.write(f"objects at IoU {iou}: {every['found']} found, {every['missed']} missed, ")
    sys.stdout.write(f"{every['invented']} invented, F1 {f1}\n{out / PAGE}\n")


@contextmanager
def _progress() -> Iterator[OnWindow]:
    with progress() as bars:
        task = bars.add_task("comparing", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


if __name__ == "__main__":
    app()
