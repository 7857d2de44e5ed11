"""The endpoint as a program of its own, and how to talk to it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from sam3edge.invocations.attributes import HEADER

START_SECONDS = 120
ADDRESS = re.compile(r"running on (http://[\d.]+:\d+)")


@dataclass
class Server:
    """A running endpoint.

    Attributes:
        log: what it logged.
        not_ours: lines that native libraries wrote past every logger, as libpng does of damaged files.
    """

    process: subprocess.Popen[str]
    log: list[dict[str, Any]] = field(default_factory=list)
    not_ours: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self._pool = urllib3.PoolManager(maxsize=64, timeout=60, retries=False)
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if not line.startswith("{"):
                self.not_ours.append(line)
                continue
            self.log.append(json.loads(line))
            if address := ADDRESS.search(self.log[-1]["message"]):
                self.url = address[1]
                self._listens.set()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        assert self._listens.wait(START_SECONDS), self.log
        while self.get("/ping").status != 200:
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.05)

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self._pool.request("GET", self.url + path)

    def post(
        self,
        body: bytes,
        content_type: str = "",
        attributes: str = "",
        accept: str = "",
        path: str = "/invocations",
        **headers: str,
    ) -> urllib3.BaseHTTPResponse:
        given = {"Content-Type": content_type, HEADER: attributes, "Accept": accept, **headers}
        return self._pool.request("POST", self.url + path, body=body, headers={k: v for k, v in given.items() if v})

    def post_json(self, value: Any, **headers: str) -> urllib3.BaseHTTPResponse:
        return self.post(json.dumps(value).encode(), "application/json", **headers)

    def stop(self) -> int:
        """SIGTERM, as SageMaker sends; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            status = self.process.wait(START_SECONDS)
        finally:
            self.process.kill()
            self._reader.join()
            self._pool.clear()
            assert self.process.stderr is not None
            self.process.stderr.close()
        return status


def launch(checkpoint: Path, **variables: str) -> Server:
    """Start an endpoint on a free port of this machine."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SAM3EDGE_", "SAGEMAKER_", "CHECKPOINT"))}
    environment = {
        **inherited,
        "CHECKPOINT_PATH": str(checkpoint),
        "SAGEMAKER_BIND_TO_PORT": "0",
        "SAM3EDGE_BIND_TO_HOST": "127.0.0.1",
        **variables,
    }
    command = [sys.executable, "-m", "sam3edge_serving.endpoint", "serve"]
    return Server(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))


def error(response: urllib3.BaseHTTPResponse, status: int) -> dict[str, Any]:
    """The error of a refusal, which must have that status and the shape of every error."""
    assert response.status == status, response.data[:500]
    described: dict[str, Any] = response.json()["error"]
    assert set(described) == {"message", "type", "param", "code"}
    assert described["message"]
    return described
