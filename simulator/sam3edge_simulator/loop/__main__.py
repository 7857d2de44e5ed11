"""``python -m sam3edge_simulator.loop``; see ``make loop``."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import typer

from sam3edge.terminal import errors_in_words, say
from sam3edge_simulator.loop.run import Options, run_loop

ASSETS = Path(__file__).parents[3] / "assets"


def loop(
    out: Annotated[Path, typer.Option(help="Folder of everything; what an earlier run left is replaced.")] = Path(
        ".loop"
    ),
    scenes: Annotated[int, typer.Option(min=20, help="Frames that the device meets.")] = 300,
    budget: Annotated[int, typer.Option(min=4, help="Images that are labelled.")] = 40,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the training.")] = 300,
    judged: Annotated[int, typer.Option(min=10, help="Held-out scenes to judge by.")] = 100,
    compare: Annotated[bool, typer.Option(help="Train on as many random frames, too.")] = True,
) -> None:
    """Execute the whole cycle on this computer; exits with 0 only if the new concept was learned and none was lost."""
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server tells of every request
    began = time.monotonic()
    with errors_in_words():
        run_loop(Options(ASSETS, out, scenes, budget, steps, judged, compare))
    say(f"{(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    typer.run(loop)
