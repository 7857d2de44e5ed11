"""A stand-in for the endpoint: its contract over HTTP, answered by the demo bundle, the device's engine and message.

It takes ``POST /invocations`` as the container does, and ``POST /endpoints/<name>/invocations`` as SageMaker does
(InvokeEndpoint's REST binding; what the container refuses is a ModelError there).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import unquote

from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Prompt
from sam3edge.images.decoding import DecodeOptions, decode
from sam3edge.invocations.attributes import HEADER


@dataclass
class StandIn:
    """The endpoint.

    Attributes:
        busy: how many requests it sends away with 429 before it answers.
        cold: how many it sends away with 503.
        asked: requests that came.
    """

    engine: Engine
    url: str = ""
    busy: int = 0
    cold: int = 0
    asked: int = 0
    one: Lock = field(default_factory=Lock)

    def answer(self, image: bytes, phrases: list[str], threshold: float, name: str) -> tuple[int, bytes]:
        """Status and body."""
        with self.one:
            self.asked += 1
            if self.busy > 0:
                self.busy -= 1
                return 429, _error("busy")
            if self.cold > 0:
                self.cold -= 1
                return 503, _error("loading")
            digest = hashlib.sha256(image).hexdigest()
            pixels = decode(image, DecodeOptions()).image
            frame = Frame(digest[:32], "endpoint", name, pixels, datetime.now(timezone.utc), f"sha256:{digest}")
            prompts = tuple(Prompt(phrase, threshold) for phrase in phrases)
            found = self.engine.segment(frame, prompts)
            if len(found.unsupported_prompts) == len(prompts):
                return 422, _error(f"the prompt {phrases[0]!r} cannot be answered")
            detections = to_detections(found, frame, self.engine.model)
            (whole,) = encode(frame_result("endpoint", frame, prompts, detections), "", 25 * 2**20, 4.0)
            return 200, whole.payload


@contextmanager
def serve(engine: Engine) -> Iterator[StandIn]:
    """Run it on a free port."""
    standin = StandIn(engine)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(standin))
    server.daemon_threads = True
    standin.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _error(text: str) -> bytes:
    return json.dumps({"error": {"message": text, "type": "x", "param": None, "code": None}}).encode()


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            pairs = dict(pair.split("=", 1) for pair in self.headers.get(HEADER, "").split(",") if pair)
            phrases = [unquote(p) for p in pairs.get("text_prompt", "").split("|")]
            if self.headers["Content-Type"] == "application/json":
                members = json.loads(data)
                data, phrases = base64.b64decode(members["image"]), members["text_prompt"]
            status, body = standin.answer(
                data, phrases, float(pairs.get("threshold", 0.5)), unquote(pairs.get("image_id", "image"))
            )
            headers = {"Content-Type": "application/geo+json" if status == 200 else "application/json"}
            if status in (429, 503):
                headers["Retry-After"] = "1"
            if status != 200 and self.path.startswith("/endpoints/"):
                said = {"Message": "refused", "OriginalStatusCode": status, "OriginalMessage": body.decode()}
                status, body = 424, json.dumps(said).encode()
                headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "ModelError"}
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler
