"""A broker with a memory: mosquitto that keeps sessions over restarts, asks for passwords and speaks WebSockets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.mosquitto import MISSING, MOSQUITTO, free_port, listens
from support.waiting import until

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)


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
            "user root",  # else it may not read its files in a folder of root; without effect for anybody else
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
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n")
        self._log = folder / "mosquitto.log"
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
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", self._configuration], stdout=log, stderr=log)
        until(lambda: listens(self.port) and listens(self.websocket_port))

    def stop(self) -> None:
        """As a service is stopped: what it has to remember is on the disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
