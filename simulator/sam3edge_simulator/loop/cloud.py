"""What stands for AWS in the local run: S3 and the model registry by moto, and a device's token exchange service."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import urllib3
from moto.server import ThreadedMotoServer

from sam3edge_simulator.greengrass_cloud import REGION

KEYS = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": REGION}
BUCKET = "sam3edge"


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """Addresses on loopback.

    Attributes:
        endpoint: of every service of AWS.
        credentials: of the token exchange service.
        region: that they are in.
    """

    endpoint: str
    credentials: str
    region: str = REGION

    def client(self, service: str) -> Any:
        """boto3's client of a service."""
        return boto3.client(service, endpoint_url=self.endpoint, **KEYS)

    @property
    def environment(self) -> Mapping[str, str]:
        """What lets boto3 in other processes find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        }

    def upload(self, folder: Path, uri: str) -> None:
        """Copy every file of a folder to a prefix, ``s3://bucket/prefix/``."""
        s3, parts = self.client("s3"), urlsplit(uri)
        for path in (one for one in sorted(folder.rglob("*")) if one.is_file()):
            s3.upload_file(str(path), parts.netloc, parts.path.strip("/") + "/" + path.relative_to(folder).as_posix())

    def download(self, prefix: str, folder: Path) -> None:
        """Copy what the bucket has below a prefix."""
        s3 = self.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for one in page.get("Contents", ()):
                target = folder / one["Key"]
                target.parent.mkdir(parents=True, exist_ok=True)
                s3.download_file(BUCKET, one["Key"], str(target))


class _TokenExchange(BaseHTTPRequestHandler):
    """Gives whoever asks with a token the keys of the local cloud."""

    def do_GET(self) -> None:
        """Answer as the nucleus's service does."""
        if not self.headers.get("Authorization"):
            self.send_error(403)
            return
        expires = datetime.now(timezone.utc) + timedelta(hours=1)
        body = json.dumps(
            {
                "AccessKeyId": KEYS["aws_access_key_id"],
                "SecretAccessKey": KEYS["aws_secret_access_key"],
                "Token": "local",
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def local_cloud() -> Iterator[LocalCloud]:
    """Start it, with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    exchange = ThreadingHTTPServer(("127.0.0.1", 0), _TokenExchange)
    thread = threading.Thread(target=exchange.serve_forever, name="token-exchange", daemon=True)
    thread.start()
    cloud = LocalCloud(
        f"http://{host}:{port}", f"http://127.0.0.1:{exchange.server_port}/2016-11-01/credentialprovider/"
    )
    try:
        # moto keeps what it holds for as long as the process lives
        urllib3.request("POST", f"{cloud.endpoint}/moto-api/reset", timeout=10)
        urllib3.request(
            "POST", f"{cloud.endpoint}/moto-api/config", json={"stepfunctions": {"execute_state_machine": True}}
        )
        cloud.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield cloud
    finally:
        exchange.shutdown()
        exchange.server_close()
        server.stop()
