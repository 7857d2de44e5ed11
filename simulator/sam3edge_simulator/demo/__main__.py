"""``python -m sam3edge_simulator.demo``; see ``make demo``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sam3edge.core.errors import BundleError
from sam3edge.core.phrases import single_spaced
from sam3edge_simulator.demo.run import Options, run_demo
from sam3edge_simulator.deployment_document import DeploymentFailed

ASSETS = Path(__file__).parents[3] / "assets"


def demo(
    images: Annotated[Path, typer.Option(help="Folder of images.")] = ASSETS / "scenes",
    prompts: Annotated[str, typer.Option(help="What to look for, with commas; all the model knows when empty.")] = "",
    bundle: Annotated[Path, typer.Option(help="Model bundle.")] = ASSETS / "demo-bundle",
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path(".demo"),
    profile: Annotated[str, typer.Option(help="Nucleus to imitate: classic or lite.")] = "classic",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score an instance must exceed.")] = 0.5,
    open_page: Annotated[bool, typer.Option("--open", help="Open the live page, and go on until Ctrl-C.")] = False,
) -> None:
    """Run a whole device on this computer: components, nucleus, broker and consumer."""
    logging.basicConfig(level=logging.ERROR)
    console = Console()
    if profile not in ("classic", "lite"):
        raise typer.BadParameter(f"expected classic or lite, got {profile}", param_hint="--profile")
    if not images.is_dir():
        raise typer.BadParameter(f"{images} is not a folder", param_hint="--images")
    wanted = tuple(single_spaced(text) for text in prompts.split(",") if text.strip())
    try:
        complete = run_demo(Options(images, wanted, bundle, out, profile, threshold, open_page), console)
    except BundleError as error:
        console.print(f"[red]{error}[/]")
        complete = False
    except DeploymentFailed as error:
        console.print(f"[red]the deployment failed: {error}[/]\nlogs: {out / 'device' / 'logs'}")
        complete = False
    raise typer.Exit(0 if complete else 1)


if __name__ == "__main__":
    typer.run(demo)
