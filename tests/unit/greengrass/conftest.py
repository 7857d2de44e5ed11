"""The real client against an IPC server in this process, and the nucleus in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam3edge.greengrass.client import ClientOptions, GreengrassClient
from sam3edge.greengrass.streams import StreamOptions
from sam3edge_simulator.ipc import FakeNucleus as ServedNucleus
from sam3edge_simulator.ipc import IpcServer
from support.samples import Lost

COMPONENT = "com.example.Segmenter"
QUICK = ClientOptions(timeout=2.0, settle=0.05, streams=StreamOptions(first_pause=0.02, longest_pause=0.1))


@pytest.fixture
def lost() -> Lost:
    return Lost()


@pytest.fixture
def served() -> ServedNucleus:
    """What the server answers from."""
    return ServedNucleus({COMPONENT: {"prompts": ["ship"], "threshold": 0.5}})


@pytest.fixture
def server(served: ServedNucleus) -> Iterator[IpcServer]:
    # Not tmp_path: the address of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="gg") as folder, IpcServer(Path(folder) / "ipc.socket", served) as server:
        yield server


@pytest.fixture
def connect(server: IpcServer, lost: Lost) -> Iterator[Callable[..., GreengrassClient]]:
    clients: list[GreengrassClient] = []

    def connect_(options: ClientOptions = QUICK) -> GreengrassClient:
        clients.append(GreengrassClient(options, on_lost=lost, socket=str(server.path), token=COMPONENT))
        return clients[-1]

    yield connect_
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[..., GreengrassClient]) -> GreengrassClient:
    return connect()
