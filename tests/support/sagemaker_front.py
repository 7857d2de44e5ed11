"""SageMaker's runtime before a container, as InvokeEndpoint's REST binding has it.

``POST /endpoints/<name>/invocations`` goes to the container's ``/invocations`` with the headers that SageMaker hands
on, and comes back with those that it passes on; what the container refuses is a ModelError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import urllib3

from sam3edge.invocations.attributes import HEADER

HANDED_ON = ("Content-Type", "Accept", HEADER, "X-Amzn-SageMaker-Inference-Id")
PASSED_ON = ("Content-Type", HEADER)


@contextmanager
def sagemaker(container: str) -> Iterator[str]:
    """Its address."""
    pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=8)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(container, pool))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()


def _handler(container: str, pool: urllib3.PoolManager) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            given = {name: self.headers[name] for name in HANDED_ON if name in self.headers}
            response = pool.request("POST", f"{container}/invocations", body=body, headers=given)
            status, data = response.status, response.data
            headers = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
            if status != 200:
                said = {"Message": "refused", "OriginalStatusCode": status, "OriginalMessage": data.decode()}
                status, data = 424, json.dumps(said).encode()
                headers = {"Content-Type": "application/json", "x-amzn-ErrorType": "ModelError"}
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler
