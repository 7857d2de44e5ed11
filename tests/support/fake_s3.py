"""S3 and the token exchange service on loopback: signatures and checksums are checked, and anything can go wrong.

The signature is computed again by botocore, which is not what signs on the device.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TOKEN = "exchange-token-1"
SECRET = "wJalrXUtnFEMI/K7MDENG"


@dataclass
class FakeS3:
    """The service.

    Attributes:
        bucket, region: of the one bucket there is.
        faults: what happens to the next requests: a status with an error code, ``cut`` before, or ``cut after`` a
            request is carried out, ``wrong checksum``, or empty for nothing.
        ahead: how far its clock is ahead of this machine's.
        session: token of the credentials that are good now.
        authorization: what the token exchange service wants to see; empty for anything.
        objects: by key, in the order in which they became complete.
        log: method and query of each request.
    """

    bucket: str = "labels"
    region: str = "eu-central-1"
    url: str = ""
    faults: deque[str] = field(default_factory=deque)
    ahead: timedelta = timedelta()
    session: str = "session-1"
    lifetime: timedelta = timedelta(hours=1)
    exchange_status: int = 200
    authorization: str = TOKEN
    smallest_part: int = 100
    objects: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    credentials_given: int = 0
    lock: Lock = field(default_factory=Lock)

    @property
    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead

    @property
    def exchange(self) -> str:
        """The address of the token exchange service."""
        return f"{self.url}/2016-11-01/credentialprovider/"


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: FakeS3

    def log_message(self, format: str, *args: object) -> None: ...

    def _serve(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client went away
            self.close_connection = True
            return
        with self.s3.lock:
            if self.path.startswith("/2016-11-01/"):
                self._exchange()
                return
            fault = self.s3.faults.popleft() if self.s3.faults else ""
            self.s3.log.append(f"{self.command} {urlsplit(self.path).query.partition('=')[0]}".strip())
            if fault == "cut":
                self.close_connection = True
                return
            try:
                if fault[:1].isdigit():
                    status, code = fault.split(" ", 1)
                    raise _Refused(int(status), code)
                self._check_signature(body)
                said, headers = self._carry_out(body)
            except _Refused as refused:
                said = f"<?xml version='1.0'?><Error><Code>{refused.code}</Code><Message>{SECRET}</Message></Error>"
                self._respond(refused.status, said.encode(), {})
                return
            if fault == "cut after":
                self.close_connection = True
                return
            if fault == "wrong checksum":
                headers["x-amz-checksum-sha256"] = base64.b64encode(b"0" * 32).decode()
            self._respond(204 if self.command == "DELETE" else 200, said, headers)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _exchange(self) -> None:
        self.s3.credentials_given += 1
        if (
            self.headers.get("Authorization", "") != (self.s3.authorization or self.headers["Authorization"])
            or self.s3.exchange_status != 200
        ):
            self._respond(403 if self.s3.exchange_status == 200 else self.s3.exchange_status, b"no", {})
            return
        expires = datetime.now(timezone.utc) + self.s3.lifetime
        given = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": SECRET, "Token": self.s3.session}
        given["Expiration"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._respond(200, json.dumps(given).encode(), {})

    def _check_signature(self, body: bytes) -> None:
        s3 = self.s3
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/(\d{8})/([a-z0-9-]+)/s3/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
            self.headers.get("Authorization", ""),
        )
        if match is None:
            raise _Refused(403, "AccessDenied")
        _, region, names, signature = match.groups()
        moment = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        if abs(moment - s3.now) > timedelta(minutes=15):
            raise _Refused(403, "RequestTimeTooSkewed")
        if region != s3.region:
            raise _Refused(400, "AuthorizationHeaderMalformed")
        if self.headers.get("x-amz-security-token") != s3.session:
            raise _Refused(400, "ExpiredToken")
        if self.headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            raise _Refused(400, "XAmzContentSHA256Mismatch")
        signed = {name: self.headers[name] for name in names.split(";")}
        if not {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"} <= set(signed):
            raise _Refused(403, "AccessDenied")
        request = AWSRequest(self.command, f"http://{self.headers['host']}{self.path}", signed, body)
        request.context["timestamp"] = self.headers["x-amz-date"]
        auth = S3SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, s3.session), "s3", region)
        canonical = auth.canonical_request(request)
        if auth.signature(auth.string_to_sign(request, canonical), request) != signature:
            raise _Refused(403, "SignatureDoesNotMatch")

    def _carry_out(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        s3 = self.s3
        parts = urlsplit(self.path)
        _, bucket, key = unquote(parts.path).split("/", 2)
        if bucket != s3.bucket:
            raise _Refused(404, "NoSuchBucket")
        query = parse_qs(parts.query, keep_blank_values=True)
        checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if self.headers.get("x-amz-checksum-sha256", checksum) != checksum:
            raise _Refused(400, "BadDigest")
        confirmed = {"x-amz-checksum-sha256": checksum, "ETag": f'"{hashlib.md5(body).hexdigest()}"'}
        if "uploads" in query:
            upload = f"upload/{len(s3.log)}+="
            s3.uploads[upload] = {}
            s3.types[key] = self.headers["content-type"]
            return f"<R xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><UploadId>{upload}</UploadId></R>".encode(), {}
        if "uploadId" not in query:
            s3.objects[key] = body
            s3.types[key] = self.headers["content-type"]
            return b"", confirmed
        [upload] = query["uploadId"]
        if upload not in s3.uploads:
            raise _Refused(404, "NoSuchUpload")
        held = s3.uploads[upload]
        if "partNumber" in query:
            held[int(query["partNumber"][0])] = body
            return b"", confirmed
        if self.command == "DELETE":
            del s3.uploads[upload]
            return b"", {}
        named = re.findall(rb"<PartNumber>(\d+)</PartNumber><ETag>(.*?)</ETag><ChecksumSHA256>(.*?)</Check", body)
        if [int(number) for number, _, _ in named] != sorted(held):
            raise _Refused(400, "InvalidPart")
        if any(len(held[number]) < s3.smallest_part for number in sorted(held)[:-1]):
            raise _Refused(400, "EntityTooSmall")
        s3.objects[key] = b"".join(held[number] for number in sorted(held))
        digests = b"".join(hashlib.sha256(held[number]).digest() for number in sorted(held))
        del s3.uploads[upload]
        whole = f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(held)}"
        return f"<R xmlns='x'><ChecksumSHA256>{whole}</ChecksumSHA256></R>".encode(), {}

    def _respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.s3.now, usegmt=True))
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to print about."""


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """Serve on loopback as long as the block runs."""
    s3 = FakeS3()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"s3": s3}))
    s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
