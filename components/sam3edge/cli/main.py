"""The command line for people without a device: ``sam3edge``.

    sam3edge detect image.jpg --prompt scratch --prompt dent --endpoint http://host:8080 --overlay
    sam3edge raster scene.tif --prompts "car, building@0.5" --out scene.geojson
    sam3edge convert detections --out detections.gpkg
    sam3edge georef calibrate frame.jpg points.csv
    sam3edge listen mqtt://localhost --ndjson found.ndjson

Exit status: 0 done; 1 some images were not answered, some features not converted, or listening could not go on; 2
something given is wrong, which the last line of the output names.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sam3edge.cli.georef import app as georef
from sam3edge.cli.listen import listen
from sam3edge.cli.raster import raster
from sam3edge.terminal import errors_in_words, progress, say

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.add_typer(georef, name="georef")
app.command()(raster)
app.command()(listen)

DEMO_BUNDLE = Path("assets/demo-bundle")


@app.callback()
def sam3edge() -> None:
    """Promptable segmentation; see the commands."""


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    prompt: Annotated[list[str], typer.Option(help="What to look for; several times for several.", show_default=False)],
    endpoint: Annotated[
        str,
        typer.Option(help="http(s)://host[:port] of an endpoint, or its name in SageMaker.", show_default="none"),
    ] = "",
    bundle: Annotated[
        Path, typer.Option(help="Folder of the model that is run here when there is no --endpoint.")
    ] = DEMO_BUNDLE,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Scores above this are answered.")] = 0.5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 60.0,
    out: Annotated[Path, typer.Option(help="Folder for a GeoJSON file an image.")] = Path("detections"),
    overlay: Annotated[bool, typer.Option("--overlay", help="Draw what was found, too, as PNG.")] = False,
) -> None:
    """Find what the prompts name in images, and write GeoJSON as devices publish it."""
    with errors_in_words():
        from sam3edge.cli.detect import (
            BundleDetector,
            ImageDetector,
            detect_in,
            endpoint_detector,
            geojson,
            images_of,
            names_for,
        )
        from sam3edge.core.errors import BundleError, EndpointError, FrameError, SettingsError
        from sam3edge.core.phrases import single_spaced
        from sam3edge.core.types import Prompt

        texts = list(dict.fromkeys(single_spaced(text) for text in prompt))
        if not all(texts):
            raise SettingsError("a prompt is a short noun phrase, and one of them is empty")
        prompts = tuple(Prompt(text, threshold) for text in texts)
        files = images_of(images)
        if not endpoint and not bundle.is_dir():
            raise BundleError(f"there is no bundle in {bundle}; give --bundle, or --endpoint to ask in the cloud")
        detector: ImageDetector = endpoint_detector(endpoint, timeout) if endpoint else BundleDetector(bundle)
        failed = 0
        unsupported_prompts: set[str] = set()
        with closing(detector), progress() as bars:
            task = bars.add_task("looking", total=len(files))
            for image, name in zip(files, names_for(files), strict=True):
                try:
                    result = detect_in(image, detector, prompts)
                    document = geojson(result)
                    _write(out / f"{name}.geojson", document)
                    if overlay:
                        _draw(image, out / f"{name}.png", document, texts)
                except (FrameError, EndpointError) as error:
                    failed += 1
                    say(f"[bold red]not answered:[/] {escape(str(image))}: {escape(str(error))}")
                else:
                    unsupported_prompts.update(result.unsupported_prompts)
                    say(f"{escape(str(image))}: {len(result.detections)} found")
                bars.advance(task)
    if unsupported_prompts:
        say(f"the model does not know {escape(', '.join(sorted(unsupported_prompts)))}")
    say(f"{len(files) - failed} of {len(files)} images answered, in {escape(str(out))}")
    if failed:
        raise typer.Exit(1)


@app.command()
def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="GeoJSON files, files of a message a line (.ndjson), or folders.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option(help="Ends in .gpkg, .fgb, .parquet, .geojson or .coco.json.", show_default=False)
    ],
) -> None:
    """Put the detections of many files into one that QGIS or a trainer opens."""
    with errors_in_words():
        from sam3edge.core.errors import SettingsError

        try:
            from sam3edge.cli.convert import convert as convert_all
            from sam3edge.vector.documents import files_in
        except ModuleNotFoundError as error:
            raise SettingsError(f"{error.name} is not installed; pip install 'sam3edge[client,vector]'") from error

        done = convert_all(files_in(inputs, out), out)
    for reason in done.refused.reasons:
        say(f"[bold red]left out:[/] {escape(reason)}")
    if done.refused.count:
        say(f"{done.refused.count} documents or features could not be converted")
    if done.repeated:
        say(f"{done.repeated} messages are repetitions of others and were left out")
    if done.passed_over:
        say(f"{done.passed_over} messages are not of detections")
    say(f"{done.features} features in {escape(', '.join(map(str, done.files)))}")
    if done.refused.count:
        raise typer.Exit(1)


def _write(path: Path, document: bytes) -> None:
    from sam3edge.core.errors import SettingsError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _draw(image: Path, target: Path, document: bytes, labels: list[str]) -> None:
    """Over the image as the model saw it: turned upright, 16 bits made 8."""
    import cv2
    import numpy as np

    from sam3edge.images.files import read_frame
    from sam3edge.images.overlay import draw_overlay

    picture = np.ascontiguousarray(read_frame(image).image[..., ::-1])
    drawn = draw_overlay(picture, json.loads(document)["features"], labels)
    _write(target, cv2.imencode(".png", drawn)[1].tobytes())


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
