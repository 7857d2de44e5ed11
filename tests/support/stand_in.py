"""A stand-in for the endpoint in the cloud: a real HTTP server on loopback that answers with an engine's findings in
the device's own detections, and can be made to be slow, busy, broken or to lie."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Prompt
from sam3edge.images.decoding import DecodeOptions, decode
from sam3edge.invocations.attributes import HEADER
from sam3edge_serving.http.errors import Busy


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def picture(self) -> bytes:
        return base64.b64decode(self.document["image"]) if self.document else self.body

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body)) if self.headers["Content-Type"] == "application/json" else {}

    @property
    def attributes(self) -> dict[str, str]:
        pairs = (part.split("=", 1) for part in self.headers.get(HEADER, "").split(",") if part)
        return dict(pairs)  # type: ignore[arg-type]

    @property
    def phrases(self) -> list[str]:
        if self.document:
            return list(self.document["text_prompt"])
        return [unquote(text) for text in self.attributes["text_prompt"].split("|")]

    @property
    def threshold(self) -> float:
        return float(self.document["threshold"] if self.document else self.attributes["threshold"])


@dataclass(frozen=True)
class Reply:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Manner = Callable[[Asked], Reply]


class StandIn:
    """The server.

    Attributes:
        manner: how it answers from now on.
        asked: every request that came.
        url: where it listens.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.manner: Manner = self.honest
        self.asked: list[Asked] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked = Asked(self.path, dict(self.headers.items()), body)
                stand_in.asked.append(asked)
                reply = stand_in.manner(asked)
                try:
                    self.send_response(reply.status)
                    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True  # whoever asked has gone

            def log_message(self, format: str, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def honest(self, asked: Asked) -> Reply:
        """What a good endpoint says."""
        return Reply(json.dumps(self.findings(asked)).encode(), headers={"Content-Type": "application/geo+json"})

    def slow(self, asked: Asked) -> Reply:
        """The same, after half a minute."""
        self._released.wait(30)
        return self.honest(asked)

    def lying(self, change: Callable[[dict[str, Any]], object]) -> Manner:
        """The same, changed."""

        def lie(asked: Asked) -> Reply:
            document = self.findings(asked)
            change(document)
            return Reply(json.dumps(document).encode())

        return lie

    def findings(self, asked: Asked) -> dict[str, Any]:
        """The device's message about the picture, undivided."""
        image = decode(asked.picture, DecodeOptions()).image
        digest = hashlib.sha256(asked.picture).hexdigest()
        frame = Frame(digest[:32], "request", "picture", image, datetime.now(timezone.utc), f"sha256:{digest}")
        prompts = tuple(Prompt(text, asked.threshold) for text in asked.phrases)
        with self._lock:
            found = detect(self._engine, frame, DetectionOptions(prompts))
        answer = replace(frame_result("endpoint", frame, prompts, found), origin=None)
        [whole] = encode(answer, "", 1 << 30, 4.0)
        return dict(json.loads(whole.payload))

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def busy(asked: Asked, seconds: int = 30) -> Reply:
    """An endpoint that has enough to do, as ours says so."""
    refused = Busy("too many requests in progress", retry_after=seconds)
    return Reply(refused.json().encode(), refused.status, refused.headers)


def no_json(asked: Asked) -> Reply:
    """What a proxy's error page is to a client."""
    return Reply(b"<html>It works!</html>")


def another_schema(asked: Asked) -> Reply:
    return Reply(json.dumps({"type": "FeatureCollection", "features": [{"type": "Feature"}]}).encode())


def outside(document: dict[str, Any]) -> None:
    """Outlines that lie beside the picture."""

    def move(value: Any) -> Any:
        return [move(v) for v in value] if isinstance(value, list) else value + 10_000

    for feature in document["features"]:
        geometry = feature["properties"]["imageGeometry"]
        geometry["coordinates"] = move(geometry["coordinates"])
