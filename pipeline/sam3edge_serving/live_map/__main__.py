"""The live page for a broker of yours: ``python -m sam3edge_serving.live_map --broker wss://broker.example.org:8084/mqtt``.

It serves the page on this computer, for this computer only, until Ctrl-C; the browser talks to the broker by itself.
The broker needs a WebSocket listener (mosquitto: ``listener 9001`` and ``protocol websockets``; AWS IoT Core has one).
For AWS IoT Core the endpoint is enough: ``--broker wss://xxxx-ats.iot.eu-central-1.amazonaws.com``; the page asks for
temporary credentials, or for the token of a custom authorizer (``--sign-in authorizer``), and keeps them in the tab's
memory. User names that ``page_tokens`` of the CDK application issues name the authorizer, and need no ``--authorizer``.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sam3edge.core.errors import SettingsError
from sam3edge_serving.live_map.configuration import (
    DEFAULT_PREFIX,
    PageConfiguration,
    complete_broker,
    region_of,
)
from sam3edge_serving.live_map.server import PageServer

MAX_PORT = 65_535

logger = logging.getLogger("sam3edge_serving.live_map")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; 5 where the settings are refused."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        configuration = _configuration(given)
        if not 0 <= given.port <= MAX_PORT:
            raise SettingsError(f"expected --port as 0 to {MAX_PORT}, got {given.port}")
        with PageServer(given.port).serving(configuration) as server:
            _serve(server, given.open)
    except SettingsError as error:
        logger.error("the settings are refused: %s", error)
        return 5
    except OSError as error:
        logger.error("expected a free port, %d is not: %s; give another --port", given.port, error)
        return 5
    return 0


def _serve(server: PageServer, opened: bool) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as services are stopped
    with suppress(KeyboardInterrupt):
        logger.info("the page is at %s, for this computer only; Ctrl-C ends it", server.address)
        if opened and not webbrowser.open(server.address):
            logger.warning("no browser could be opened; open the address yourself")
        threading.Event().wait()
    logger.info("stopped")


def _configuration(given: argparse.Namespace) -> PageConfiguration:
    broker = complete_broker(given.broker)
    region = given.region or region_of(broker)
    return PageConfiguration(
        broker=broker,
        sign_in=given.sign_in or ("authorizer" if given.authorizer else "aws" if region_of(broker) else "none"),
        region=region,
        authorizer=given.authorizer,
        prefixes=tuple(given.prefix or [DEFAULT_PREFIX]),
        commands=not given.read_only,
        pictures=given.pictures != "never",
        picture_seconds=None if given.pictures in ("never", "ask") else _seconds(given.pictures),
        map_style=given.map_style,
        map_tiles=given.map_tiles,
        map_origins=tuple(given.map_origin),
    )


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 86_400):
        raise SettingsError(f"expected never, ask, or a number of seconds from 1 to 86400 for --pictures, got {text!r}")
    return float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sam3edge_serving.live_map",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--broker", required=True, help="ws:// or wss:// address of the broker's WebSocket listener")
    add(
        "--sign-in",
        choices=["none", "password", "aws", "authorizer"],
        help="how the page proves itself; by default aws for endpoints of AWS IoT Core, none for others",
    )
    add("--region", default="", help="AWS region, where the endpoint does not name it")
    add(
        "--authorizer",
        default="",
        help="name of the custom authorizer; without it that of the user name, or the account's default one",
    )
    add(
        "--prefix",
        action="append",
        help=f"topics below which devices publish, + for any level; up to five of them; {DEFAULT_PREFIX} by default",
    )
    add("--read-only", action="store_true", help="no commands from this page")
    add(
        "--pictures",
        default="never",
        help="whether images leave devices: never (by default), ask (a person does, each time), or a number of seconds",
    )
    add("--map-style", type=Path, help="a MapLibre style, JSON, instead of a plain background")
    add("--map-tiles", type=Path, help="a PMTiles archive below the outlines; pmtiles://map.pmtiles in a style")
    add("--map-origin", action="append", default=[], help="where the style may load from, such as https://host")
    add("--port", type=int, default=0, help="of the page; any free one by default")
    add("--open", action="store_true", help="open the page in a browser")
    return parser


if __name__ == "__main__":
    sys.exit(main())
