"""A Hub on this computer: the API, the files, and a storage on another port that must never see the token."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "c" * 40
TOKEN = "hf_" + "S3cret" * 5


@dataclass
class Hub:
    """What it holds, and how it behaves.

    Attributes:
        files: by name; what ends in ``.pt`` lies in the storage, the others in the repository itself.
        repository: its name.
        accounts: tokens with access.
        gated: whether a good token has yet to be given access.
        stop_after: bytes of ``sam3.pt`` after which the storage hangs up, once.
        announced: SHA-256 that the API tells of ``sam3.pt``, where it is not the right one.
        resumes: whether the storage knows ranges.
        seen: (port of the server, path, authorization, range) of every request.
    """

    files: dict[str, bytes]
    repository: str = "facebook/sam3"
    accounts: set[str] = field(default_factory=lambda: {TOKEN})
    gated: bool = False
    stop_after: int | None = None
    announced: str | None = None
    resumes: bool = True
    endpoint: str = ""
    storage: str = ""
    seen: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        """What the API says of the repository."""
        siblings = []
        for name, content in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
            if name.endswith(".pt"):
                digest = self.announced or hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 135}
            siblings.append(sibling)
        return {
            "id": self.repository,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "downloads": 0,
            "private": False,
        }


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run it on two free ports of the loopback."""
    front = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, "hub"))
    storage = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, "storage"))
    hub.endpoint, hub.storage = (f"http://127.0.0.1:{server.server_port}" for server in (front, storage))
    threads = [Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in (front, storage)]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip((front, storage), threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(hub: Hub, role: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            asked = (role, path, self.headers.get("Authorization"), self.headers.get("Range"))
            hub.seen.append(asked)
            if role == "storage":
                self._weights()
            elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in hub.accounts:
                self._answer(401, b"", {"X-Error-Message": "Invalid username or password."})
            elif hub.gated:
                self._answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask for access"})
            elif path in (f"/api/models/{hub.repository}", f"/api/models/{hub.repository}/"):
                self._answer(200, json.dumps(hub.info()).encode(), {"Content-Type": "application/json"})
            elif path.startswith(f"/{hub.repository}/resolve/{COMMIT}/") and path.endswith(".pt"):
                self._answer(302, b"", {"Location": f"{hub.storage}/blob?signature=xyz"})
            else:
                name = path.removeprefix(f"/{hub.repository}/resolve/{COMMIT}/")
                self._answer(200, hub.files[name], {}) if name in hub.files else self._answer(404, b"", {})

        def _weights(self) -> None:
            (content,), start = [content for name, content in hub.files.items() if name.endswith(".pt")], 0
            span = self.headers.get("Range")
            if span and hub.resumes:
                start = int(span.removeprefix("bytes=").rstrip("-"))
            rest = content[start:]
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            if hub.stop_after is None:
                self._answer(206 if start else 200, rest, headers)
            else:
                kept, hub.stop_after = rest[: hub.stop_after], None
                self._answer(206 if start else 200, kept, {**headers, "Content-Length": str(len(rest))})
                self.close_connection = True

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler
