"""``python -m sam3edge_simulator.api_gateway``: the API on this computer, in front of an endpoint's container.

Settings are the API function's (``settings.py``), where the environment has them; uploads need AWS. Keys come from a
file, one a line; without one, a key is made for this run and shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge_serving.api.application import Application
from sam3edge_serving.api.authorizer import authorize
from sam3edge_serving.api.idempotency import IdempotencyStore
from sam3edge_serving.api.keys import KeyRecord, KeyStore, MemoryKeys, digest, new_key
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings
from sam3edge_simulator.api_gateway.gateway import Gateway
from sam3edge_simulator.api_gateway.memory import MemoryRecords
from sam3edge_simulator.api_gateway.server import make_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sam3edge_simulator.api_gateway", description=__doc__)
    parser.add_argument("--endpoint", metavar="URL", help="of the container, such as http://127.0.0.1:8080")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--keys", type=Path, help="file of API keys, one a line")
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(Settings, {"SAM3EDGE_API_ENDPOINT_URL": given.endpoint or ""})
        keys, shown = _keys(given.keys)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    parts = assemble(settings)
    if not settings.idempotency_table:
        parts = replace(parts, once=IdempotencyStore(MemoryRecords(), None, settings.idempotency_seconds))
    server = make_server(make_gateway(Application(parts), keys), given.host, given.port)
    sys.stdout.write(f"http://{given.host}:{server.server_port}/v1{shown}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def make_gateway(application: Application, keys: KeyStore) -> Gateway:
    """Both functions, as API Gateway runs them."""

    def authorizer(event: dict[str, Any], _: object) -> dict[str, Any]:
        return authorize(event, keys)

    return Gateway(application.handle, authorizer)


def _keys(path: Path | None) -> tuple[KeyStore, str]:
    """The keys, and what is to be said of them."""
    if path is None:
        key, record = new_key("local")
        return MemoryKeys(record), f"  key {key}"
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    return MemoryKeys(*(KeyRecord(line[4:28], digest(line), "local") for line in lines)), ""


if __name__ == "__main__":
    sys.exit(main())
