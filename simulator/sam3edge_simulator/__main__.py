"""Command line of the laptop nucleus: ``python -m sam3edge_simulator``."""

from __future__ import annotations

import json
import logging
import signal
import threading
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from sam3edge.subscriber.broker_url import TlsFiles
from sam3edge_simulator.component_log import follow_log, read_log
from sam3edge_simulator.control import ControlError, ControlServer, ask, deployment_to_json
from sam3edge_simulator.deployer import Patience
from sam3edge_simulator.deployment_document import (
    Deployment,
    DocumentError,
    FailurePolicy,
    read_document,
    read_updates,
)
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, PROFILES

app = typer.Typer(help="A Greengrass core device on this computer.", no_args_is_help=True, add_completion=False)
_out = Console()
_err = Console(stderr=True)

Root = Annotated[Path, typer.Option(help="Folder of the device.")]
_DEFAULT_ROOT = Path(".demo/device")
_STATE_COLOURS = {"RUNNING": "green", "FINISHED": "cyan", "ERRORED": "yellow", "BROKEN": "red"}


@app.command()
def run(
    root: Root = _DEFAULT_ROOT,
    profile: Annotated[str, typer.Option(help="classic or lite.")] = CLASSIC.name,
    thing_name: Annotated[str, typer.Option(help="Name of the thing.")] = "laptop",
    broker: Annotated[str, typer.Option(help="mqtt:// or mqtts:// URL; without one a broker is started here.")] = "",
    broker_port: Annotated[int, typer.Option(help="Port of the broker that is started here; 0 for a free one.")] = 0,
    ca: Annotated[Path | None, typer.Option(help="Certificates that the broker's leads to (PEM).")] = None,
    certificate: Annotated[Path | None, typer.Option(help="The device's certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="The device's private key (PEM).")] = None,
    start_period: Annotated[
        float, typer.Option(help="Seconds for which components must run until their deployment has succeeded.")
    ] = Patience().start_period,
    environment: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE for every component.")] = None,
) -> None:
    """Run a device until Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=_err, show_path=False)])
    logging.getLogger("amqtt").setLevel(logging.WARNING)
    logging.getLogger("transitions").setLevel(logging.WARNING)
    if profile not in PROFILES:
        raise typer.BadParameter(f"expected one of {sorted(PROFILES)}, got {profile!r}")
    own = Broker(broker_port)
    if not broker:
        own.start()
    nucleus = Nucleus(
        root,
        broker_url=broker or own.url,
        profile=PROFILES[profile],
        thing_name=thing_name,
        tls=TlsFiles(ca, certificate, key) if ca is not None else None,
        patience=Patience(start_period=start_period),
        environment=dict(_pair(text) for text in environment or ()),
    )
    control = ControlServer(nucleus)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        nucleus.start()
        control.start()
        _out.print(f"[bold]{thing_name}[/bold] ({profile}) runs in {root}, broker {broker or own.url}")
        ended.wait()
    finally:
        control.stop()
        nucleus.stop()
        own.stop()


@app.command()
def deploy(
    components: Annotated[list[str] | None, typer.Argument(help="NAME=VERSION to add or update.")] = None,
    root: Root = _DEFAULT_ROOT,
    build: Annotated[Path | None, typer.Option(help="Folder with recipes/ and artifacts/, as GDK builds it.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Component to remove.")] = None,
    document: Annotated[
        Path | None, typer.Option(help="Deployment document of the cloud (JSON or YAML) in place of the rest.")
    ] = None,
    configuration: Annotated[
        Path | None, typer.Option(help='JSON file: {"NAME": {"merge": {...}, "reset": ["/pointer"]}}.')
    ] = None,
    roll_back: Annotated[bool, typer.Option(help="Go back when a component breaks.")] = True,
) -> None:
    """Deploy components to a running device."""
    recipes, artifacts = (build.absolute() / "recipes", build.absolute() / "artifacts") if build else (None, None)
    try:
        if document is not None:
            deployment = read_document(document, recipes=recipes, artifacts=artifacts)
        else:
            deployment = Deployment(
                add=dict(_pair(text) for text in components or ()),
                remove=tuple(remove or ()),
                configuration=read_updates(configuration) if configuration is not None else {},
                recipes=recipes,
                artifacts=artifacts,
                on_failure=FailurePolicy.ROLLBACK if roll_back else FailurePolicy.DO_NOTHING,
                notify_seconds=0.0,
            )
    except (DocumentError, OSError) as error:
        _give_up(str(error))
    result = _ask(root, "deploy", deployment_to_json(deployment))
    _out.print(f"[green]{result['status']}[/green] {result['components']}")


@app.command()
def rollback(root: Root = _DEFAULT_ROOT) -> None:
    """Undo the last deployment."""
    result = _ask(root, "rollback")
    _out.print(f"[green]{result['status']}[/green] {result['components']}")


@app.command()
def set_config(
    component: Annotated[str, typer.Argument(help="Component name.")],
    root: Root = _DEFAULT_ROOT,
    merge: Annotated[str, typer.Option(help="JSON object to merge in.")] = "{}",
    reset: Annotated[list[str] | None, typer.Option(help="JSON pointer of what gets its default back.")] = None,
) -> None:
    """Change a component's configuration."""
    try:
        values = json.loads(merge)
    except ValueError as error:
        raise typer.BadParameter(f"expected a JSON object as --merge, got {merge!r}: {error}") from error
    arguments = {"component": component, "merge": values, "reset": reset or []}
    _out.print_json(data=_ask(root, "set-config", arguments))


@app.command()
def restart(component: Annotated[str, typer.Argument(help="Component name.")], root: Root = _DEFAULT_ROOT) -> None:
    """Restart a component."""
    _ask(root, "restart", {"component": component})


@app.command()
def status(root: Root = _DEFAULT_ROOT) -> None:
    """Show what a device runs."""
    answer = _ask(root, "status")
    table = Table("component", "version", "state", "pid", "errors", "reason")
    for one in answer["components"]:
        colour = _STATE_COLOURS.get(one["state"], "white")
        state = f"[{colour}]{one['state']}[/{colour}]"
        table.add_row(one["name"], one["version"], state, str(one["pid"] or ""), str(one["errors"]), one["reason"])
    _out.print(f"{answer['profile']} nucleus, {'connected' if answer['connected'] else 'offline'}")
    _out.print(table)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help="Component name.")],
    root: Root = _DEFAULT_ROOT,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Show a component's log."""
    folder = root / "logs"
    try:
        for line in read_log(folder, component, lines):
            _out.print(line, markup=False, highlight=False, soft_wrap=True)
        if follow:
            for line in follow_log(folder, component):
                _out.print(line, markup=False, highlight=False, soft_wrap=True)
    except FileNotFoundError as error:
        _give_up(str(error))
    except KeyboardInterrupt:
        pass


def _ask(root: Path, command: str, arguments: dict[str, Any] | None = None) -> Any:
    try:
        return ask(root, command, arguments)
    except ControlError as error:
        _give_up(str(error))


def _give_up(reason: str) -> NoReturn:
    _err.print(f"[red]{reason}[/red]", soft_wrap=True)
    raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"expected NAME=VALUE, got {text!r}")
    return name, value


if __name__ == "__main__":
    app()
