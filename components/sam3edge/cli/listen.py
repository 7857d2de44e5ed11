"""``sam3edge listen``: what devices publish, into files, onto maps and to other programs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sam3edge.terminal import errors_in_words, say

CLIENT, STATE = "sam3edge-listen", ".sam3edge-listen"

_BROKER, _FILES, _ADDRESS, _BRIDGES = "Broker", "Files", "Address for maps", "Home Assistant and Frigate"


def listen(
    context: typer.Context,
    broker: Annotated[
        str,
        typer.Argument(
            help="mqtt://, mqtts://, ws:// or wss://[user[:password]@]host[:port]; or an endpoint of AWS IoT Core.",
            envvar="SAM3EDGE_BROKER",
            show_default=False,
        ),
    ],
    prefix: Annotated[
        str, typer.Option(help="Of the devices' topics; + stands for their names.", rich_help_panel=_BROKER)
    ] = "sam3edge/+",
    client: Annotated[
        str,
        typer.Option(
            help="Name of this client, the same at every start and another one for every listener.",
            show_default=f"{CLIENT}-..., drawn at the first start",
            rich_help_panel=_BROKER,
        ),
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="This client's certificate (PEM).", rich_help_panel=_BROKER)
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).", rich_help_panel=_BROKER)] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="Certificates that the broker's one must lead to (PEM).",
            show_default="those of this computer",
            rich_help_panel=_BROKER,
        ),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the user's password.", rich_help_panel=_BROKER)
    ] = None,
    aws_credentials: Annotated[
        bool,
        typer.Option(
            "--aws-credentials",
            help="Sign WebSockets to AWS IoT Core with the credentials of the environment, a profile or a role.",
            rich_help_panel=_BROKER,
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what must outlive a restart. Without any file or bridge, the default is none.",
            show_default=STATE,
            rich_help_panel=_BROKER,
        ),
    ] = None,
    ndjson: Annotated[
        Path | None,
        typer.Option(
            help="A message a line; - is standard output, and the default when nothing else is asked for.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    ndjson_megabytes: Annotated[
        float, typer.Option(min=0, help="Size at which the file is rotated; 0 for never.", rich_help_panel=_FILES)
    ] = 100,
    ndjson_files: Annotated[int, typer.Option(min=1, help="How many of them are kept.", rich_help_panel=_FILES)] = 5,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            help="Of which topics lines are written; several times for several.",
            show_default="detections",
            rich_help_panel=_FILES,
        ),
    ] = None,
    geojson: Annotated[
        Path | None, typer.Option(help="Folder for a GeoJSON file a frame.", rich_help_panel=_FILES)
    ] = None,
    geopackage: Annotated[
        Path | None,
        typer.Option(help="Folder for GeoPackages: one an hour, and one at the end.", rich_help_panel=_FILES),
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for a drawn image a frame; needs --images.", rich_help_panel=_FILES)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder in which the frames' images are.", rich_help_panel=_FILES)
    ] = None,
    serve: Annotated[
        str, typer.Option(help="Serve the last state there as GeoJSON, as at 127.0.0.1:8080.", rich_help_panel=_ADDRESS)
    ] = "",
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of a page elsewhere that may read it: https://host.", rich_help_panel=_ADDRESS),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which it may be asked, beside localhost and addresses.", rich_help_panel=_ADDRESS),
    ] = None,
    home_assistant: Annotated[
        bool,
        typer.Option("--home-assistant", help="Publish MQTT discovery and states.", rich_help_panel=_BRIDGES),
    ] = False,
    discovery_prefix: Annotated[
        str, typer.Option(help="As configured in Home Assistant.", rich_help_panel=_BRIDGES)
    ] = "homeassistant",
    offline_after: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds without heartbeat until a device is unavailable.",
            show_default="three heartbeats",
            rich_help_panel=_BRIDGES,
        ),
    ] = 0,
    frigate: Annotated[
        bool,
        typer.Option("--frigate-topics", help="Publish counts and events as Frigate does.", rich_help_panel=_BRIDGES),
    ] = False,
    frigate_prefix: Annotated[str, typer.Option(help="Of these topics.", rich_help_panel=_BRIDGES)] = "frigate",
    bridge_to: Annotated[
        str,
        typer.Option(
            help="Broker to publish at.",
            show_default="the one that is listened to",
            envvar="SAM3EDGE_BRIDGE_TO",
            rich_help_panel=_BRIDGES,
        ),
    ] = "",
) -> None:
    """Write what devices publish: each frame once and whole, over restarts, too. Ctrl-C ends it."""
    with errors_in_words():
        from sam3edge.cli import listening
        from sam3edge.core.errors import SubscriptionError
        from sam3edge.subscriber.broker_url import TlsFiles

        tls = TlsFiles(ca, certificate, key)
        source = listening.broker(broker, tls, password_file, signed=aws_credentials)
        target = listening.broker(bridge_to) if bridge_to else source
        options = listening.Options(
            prefix=prefix,
            client=client,
            state=state,
            topics=tuple(topic or ("detections",)),
            ndjson=ndjson,
            ndjson_megabytes=ndjson_megabytes,
            ndjson_files=ndjson_files,
            geojson=geojson,
            geopackage=geopackage,
            overlays=overlays,
            images=images,
            serve=serve,
            origins=tuple(allow_origin or ()),
            hosts=tuple(allow_host or ()),
            home_assistant=home_assistant,
            discovery_prefix=discovery_prefix,
            offline_seconds=offline_after,
            frigate=frigate,
            frigate_prefix=frigate_prefix,
            given=frozenset(name for name in context.params if _was_typed(context, name)),
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            listening.listen(source, target, options)
        except KeyboardInterrupt:
            say("stopped")
        except BrokenPipeError:  # who read it has seen enough; Python would complain of it when it flushes at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except SubscriptionError as error:
            say(f"[bold red]cannot go on:[/] {escape(str(error))}")
            raise typer.Exit(1) from error


def _was_typed(context: typer.Context, name: str) -> bool:
    """And is neither a default nor from the environment, which others may have set for other commands."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
