"""The listening end of the IPC socket."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sam3edge_simulator.ipc.connection import Connection
from sam3edge_simulator.ipc.faults import Faults
from sam3edge_simulator.ipc.service import Service

logger = logging.getLogger(__name__)

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket address on Linux, less the closing zero."""


class IpcServer:
    """Serves Greengrass IPC on a Unix domain socket, from its own threads.

    Args:
        path: where the socket is created; a socket that is there is replaced.
        service: what answers.
        ends_streams: whether answers of operations without events end their stream (classic nucleus: yes, lite: no).

    Attributes:
        faults: what is made to go wrong; empty at first.
    """

    def __init__(self, path: Path, service: Service, *, ends_streams: bool = True) -> None:
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise ValueError(
                f"expected a socket path of at most {MAX_SOCKET_PATH} bytes, "
                f"got {len(os.fsencode(path))} ({path}); choose a shorter folder"
            )
        self.path = path
        self.faults = Faults()
        self._service = service
        self._ends_streams = ends_streams
        self._changed = threading.Condition()
        self._connections: set[Connection] = set()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> IpcServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components that are connected now, one per connection."""
        with self._changed:
            return tuple(sorted(c.component for c in self._connections if c.component))

    def start(self) -> None:
        """Create the socket and accept clients. Starting a started server does nothing."""
        if self._listener is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            listener.listen()
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._thread = threading.Thread(target=self._accept, args=(listener,), name="ipc-accept", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the socket and every connection; returns when all threads have ended. ``start`` works again after."""
        if self._listener is None or self._thread is None:
            return
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._listener = self._thread = None
        self.path.unlink(missing_ok=True)
        self.drop_connections()

    def drop_connections(self, component: str | None = None) -> int:
        """Cut the connections of one component, or of all; clients see them closed by the peer.

        Returns:
            How many were cut; their sockets are closed when this returns.
        """
        with self._changed:
            dropped = [c for c in self._connections if component in (None, c.component)]
        for connection in dropped:
            connection.drop()
        for connection in dropped:
            connection.join()
        return len(dropped)

    def wait_connections(self, count: int, timeout: float) -> bool:
        """Wait until exactly ``count`` clients are connected, ``timeout`` seconds at most.

        Returns:
            Whether it came to that in time.
        """
        with self._changed:
            return self._changed.wait_for(lambda: len(self._connections) == count, timeout)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            connection = Connection(
                peer, self._service, self.faults, ends_streams=self._ends_streams, gone=self._forget
            )
            with self._changed:
                self._connections.add(connection)
                connection.start()
                self._changed.notify_all()

    def _forget(self, connection: Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()
