"""Debian's mosquitto on the loopback interface: it keeps sessions, asks for passwords and speaks WebSockets."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)")


def free_port() -> int:
    """A TCP port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether anybody has it."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(folder: Path, configuration: str, *ports: int) -> Iterator[None]:
    """A broker with this configuration, once it listens on all ports, until the end of the block."""
    process = _started(folder, configuration.splitlines(), ports)
    try:
        yield
    finally:
        _stopped(process)


def _started(folder: Path, configuration: list[str], ports: tuple[int, ...]) -> subprocess.Popen[bytes]:
    assert MOSQUITTO is not None
    path = folder / "mosquitto.conf"
    # without the last line it may not read its files in a folder of root; for anybody else it is without effect
    path.write_text("\n".join([*configuration, "user root"]) + "\n")
    with (folder / "mosquitto.log").open("ab") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", path], stdout=log, stderr=log)
    until(lambda: all(map(listens, ports)))
    return process


def _stopped(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


class Mosquitto:
    """A broker as a process. Sessions and retained messages outlive ``stop`` and ``start``.

    Args:
        folder: for its files.
        passwords: by user; nobody else is let in where there are any.
        access: lines of its list of access rights.
        tls: lines about the certificates of its first listener.
    """

    def __init__(
        self,
        folder: Path,
        passwords: dict[str, str] | None = None,
        access: tuple[str, ...] = (),
        tls: tuple[str, ...] = (),
    ) -> None:
        self.port, self.websocket_port = free_port(), free_port()
        lines = [
            f"listener {self.port} 127.0.0.1",
            *tls,
            f"listener {self.websocket_port} 127.0.0.1",
            "protocol websockets",
            "persistence true",
            f"persistence_location {folder}/",
            f"allow_anonymous {'false' if passwords else 'true'}",
            "max_queued_messages 0",
        ]
        if passwords:
            file = folder / "passwords"
            file.touch(0o600)
            for user, password in passwords.items():
                subprocess.run(["mosquitto_passwd", "-b", file, user, password], check=True, capture_output=True)
            lines.append(f"password_file {file}")
        if access:
            (folder / "access").write_text("\n".join(access) + "\n")
            lines.append(f"acl_file {folder / 'access'}")
        self._folder, self._configuration = folder, lines
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of plain MQTT."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        """Of MQTT over WebSockets."""
        return f"ws://127.0.0.1:{self.websocket_port}/mqtt"

    def __enter__(self) -> Mosquitto:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Until it listens."""
        self._process = _started(self._folder, self._configuration, (self.port, self.websocket_port))

    def stop(self) -> None:
        """As a service is stopped: what it has to remember is on the disk."""
        if self._process is not None:
            _stopped(self._process)
            self._process = None
