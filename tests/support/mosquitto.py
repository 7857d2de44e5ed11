"""A real broker: Debian's mosquitto, where it is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.waiting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
MISSING = "mosquitto is not installed (apt-get install mosquitto)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, configuration: str, *ports: int) -> Iterator[None]:
    """mosquitto, once it listens on all ports, until the end of the block."""
    assert MOSQUITTO is not None
    path = folder / "mosquitto.conf"
    path.write_text(f"{configuration}\nuser root\n")  # else it may not read files of root's; for others without effect
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", path], stdout=log, stderr=log)
        try:
            until(lambda: all(map(listens, ports)))
            yield
        finally:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
