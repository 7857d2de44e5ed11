"""``sam3edge georef``: where on Earth a camera's pixels are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sam3edge.terminal import console, errors_in_words, say

if TYPE_CHECKING:
    from sam3edge.core.types import Frame
    from sam3edge.geo.calibrate import Calibration

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.callback()
def georef() -> None:
    """Where on Earth a camera's pixels are; see the commands."""


@app.command()
def calibrate(
    image: Annotated[Path, typer.Argument(help="A frame of the camera, in the size of its frames.")],
    points: Annotated[
        Path,
        typer.Argument(
            help="Control points on the ground: CSV with columns x, y, longitude, latitude and perhaps name."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The calibration, for Georeference.Path.")] = Path("calibration.json"),
    drawing: Annotated[Path, typer.Option(help="Picture of points, residuals and horizon.")] = Path("calibration.png"),
    source: Annotated[str, typer.Option(help="Source.Name of the camera; frames of others are refused.")] = "",
    lens: Annotated[
        Path | None,
        typer.Option(help="What OpenCV or ROS found out about the lens: camera_matrix, distortion_coefficients."),
    ] = None,
    pixel_accuracy: Annotated[float, typer.Option(help="Standard deviation of the marks, pixels.")] = 1.0,
    place_accuracy: Annotated[float, typer.Option(help="Standard deviation of the places, metres.")] = 0.2,
) -> None:
    """Calibrate a fixed camera from four ground control points or more; show how well they fit."""
    with errors_in_words():
        from sam3edge.geo.background import background_of
        from sam3edge.geo.calibrate import NO_LENS, PointAccuracy
        from sam3edge.geo.calibrate import calibrate as fit
        from sam3edge.geo.calibration_file import write_calibration
        from sam3edge.geo.control_points import read_control_points
        from sam3edge.geo.lens_file import read_lens
        from sam3edge.images.files import read_frame

        _require_other_files({"--out": out, "--drawing": drawing}, [image, points, *([lens] if lens else [])])
        frame = read_frame(image)
        accuracy = PointAccuracy(pixel_accuracy, place_accuracy)
        size = (frame.width, frame.height)
        bending = NO_LENS if lens is None else read_lens(lens).lens_for(size)
        calibration = fit(read_control_points(points), size, accuracy, bending)
        background = background_of(frame.image, size)
        write_calibration(out, calibration, accuracy, source, background if background.is_recognisable else None)
        _draw(frame, calibration, drawing)
        console.print(_table(calibration))
        _say_accuracy(calibration)
        if not background.is_recognisable:
            say(
                "[bold yellow]nothing in this frame can be recognised again[/]: that the camera was moved will not be "
                "noticed"
            )
        say(f"calibration in {escape(str(out))}, picture in {escape(str(drawing))}")


def _require_other_files(written: dict[str, Path], read: list[Path]) -> None:
    """Refuse to write over what is read, and two results to one file."""
    from sam3edge.core.errors import SettingsError

    taken = [path.resolve() for path in read]
    for option, path in written.items():
        if path.resolve() in taken:
            raise SettingsError(f"expected another file for {option}: {path} would be written over")
        taken.append(path.resolve())


def _draw(frame: Frame, calibration: Calibration, path: Path) -> None:
    import cv2

    from sam3edge.core.errors import GeoreferenceError
    from sam3edge.geo.drawing import draw_calibration

    encoded = cv2.imencode(".png", draw_calibration(frame.image, calibration)[..., ::-1])[1]
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise GeoreferenceError(f"{path} cannot be written: {error.strerror}") from error


def _table(calibration: Calibration) -> Table:
    table = Table("point", "off by pixels", "metres", "")
    for number, residual in enumerate(calibration.residuals, 1):
        name = f"{number} {residual.point.name}".strip()
        note = "" if residual.used else "left out: does not agree with the others"
        table.add_row(escape(name), f"{residual.pixels:.1f}", f"{residual.metres:.2f}", note)
    return table


def _say_accuracy(calibration: Calibration) -> None:
    """Where the middle of the frame and its lower corners are right to, and whether the points are worse than said."""
    import numpy as np

    camera = calibration.georeference
    width, height = camera.size
    spots = {"lower edge": (width / 2, height), "middle": (width / 2, height / 2), "upper edge": (width / 2, 0.0)}
    radius = camera.accuracy(np.array(list(spots.values())))
    for spot, metres in zip(spots, radius, strict=True):
        reach = f"within {metres:.2f} m" if np.isfinite(metres) else "no ground: above the horizon"
        say(f"{spot} of the frame: {reach}")
    if calibration.scale > 1.5:
        say(
            f"[bold yellow]residuals are {calibration.scale:.1f} times what the stated accuracies say[/]: check the "
            "points, whether the ground is flat, and whether the lens bends straight lines (--lens); of seven points "
            "or more those that are wrong are found"
        )
