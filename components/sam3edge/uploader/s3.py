"""A bucket by S3's REST interface, signed by awscrt, which the device has for its IPC client.

awscrt's own S3 client can split an object into parts, too, but gives Python no way to resume after a restart and counts
its speed in gigabits, so the five requests that are needed are made here
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html). What the role needs
is ``s3:PutObject`` and ``s3:AbortMultipartUpload`` below the prefix, and nothing that reads.
"""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

import urllib3
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignedBodyHeaderType,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpHeaders, HttpRequest
from urllib3.exceptions import HTTPError

from sam3edge.core.errors import SettingsError, UploadError, UploadFailure
from sam3edge.invocations.http import pool_for, retry_after
from sam3edge.uploader.bucket import Part
from sam3edge.uploader.credentials import Credentials
from sam3edge.uploader.pace import Pace, PacedBody

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
SIGN_SECONDS = 10.0
MAX_RESPONSE = 1 << 16

STALE = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"})
"""Error codes that fresh credentials may mend."""

SKEWED = "RequestTimeTooSkewed"

PATIENCE = frozenset(
    {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "BadDigest"}
    | {"XAmzContentSHA256Mismatch", "Throttling", "ThrottlingException", "RequestLimitExceeded", "IncompleteBody"}
)
"""Error codes of what may well succeed later, whatever their status."""

MISCONFIGURED = frozenset({"NoSuchBucket", "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidBucketName"})
"""Error codes that are about the bucket or its region, not about the object."""

_CODE = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bucket is.

    Attributes:
        root: scheme and host, without a slash at the end.
        path: of the bucket below it, empty or beginning with a slash.
    """

    root: str
    path: str
    region: str


def address_of(bucket: str, region: str, endpoint: str = "") -> Address:
    """The address of a bucket of AWS, or below another endpoint that speaks S3's language.

    Raises:
        SettingsError: there is no region, or the endpoint is no address.
    """
    if not re.fullmatch(r"[a-z0-9-]{3,32}", region):
        raise SettingsError(f"expected a region such as eu-central-1, got {region!r:.40}; set Region")
    if endpoint:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise SettingsError("Endpoint: expected http(s)://host[:port] without a password")
        return Address(f"{parts.scheme}://{parts.netloc}", f"/{bucket}", region)
    host = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    if "." in bucket:  # a certificate's wildcard does not cover its dots
        return Address(f"https://{host}", f"/{bucket}", region)
    return Address(f"https://{bucket}.{host}", "", region)


class S3Bucket:
    """See ``Bucket``.

    Args:
        credentials: gives good ones; raises UploadError.
        forget: has the next ones be fresh.
        spend: is told of every request's bytes after it, whether or not it succeeded.
        clock: the time, UTC; where it is wrong, S3's is taken.
    """

    def __init__(
        self,
        address: Address,
        credentials: Callable[[], Credentials],
        forget: Callable[[], None],
        pace: Pace,
        spend: Callable[[int], None],
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._forget = forget
        self._pace = pace
        self._spend = spend
        self._clock = clock
        self._ahead = timedelta()
        self._http = pool_for(address.root)

    def put(self, key: str, body: bytes, content_type: str) -> None:
        """See ``Bucket``."""
        checksum = _checksum(body)
        headers = {"content-type": content_type, **_checked(checksum)}
        _confirm(self._request("PUT", key, "", headers, body), checksum)

    def begin(self, key: str, content_type: str) -> str:
        """See ``Bucket``."""
        headers = {"content-type": content_type, "x-amz-checksum-algorithm": "SHA256"}
        upload = _text(self._request("POST", key, "uploads=", headers).body, "UploadId")
        if not upload:
            raise UploadError("expected the id of an upload from the bucket, got none", failure="busy")
        return upload

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> Part:
        """See ``Bucket``."""
        checksum = _checksum(body)
        query = f"partNumber={number}&uploadId={_quoted(upload)}"
        answer = self._request("PUT", key, query, _checked(checksum), body)
        _confirm(answer, checksum)
        etag = answer.headers.get("etag", "")
        if not etag:
            raise UploadError("expected the ETag of a part from the bucket, got none", failure="busy")
        return Part(etag, checksum)

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """See ``Bucket``. S3 may fail after it has begun to respond, and then says so below a status of 200."""
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            f"<ChecksumSHA256>{part.checksum}</ChecksumSHA256></Part>"
            for number, part in enumerate(parts, 1)
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
        answer = self._request("POST", key, f"uploadId={_quoted(upload)}", {}, body.encode())
        if _text(answer.body, "Code"):
            raise _failure(200, answer.body, None)
        digests = b"".join(base64.b64decode(part.checksum) for part in parts)
        _confirm(answer, f"{_checksum(digests)}-{len(parts)}", _text(answer.body, "ChecksumSHA256"))

    def abort(self, key: str, upload: str) -> None:
        """See ``Bucket``."""
        try:
            self._request("DELETE", key, f"uploadId={_quoted(upload)}", {})
        except UploadError as error:
            if error.failure != "unknown_upload":
                raise

    def close(self) -> None:
        """See ``Bucket``."""
        self._http.clear()

    def _request(self, method: str, key: str, query: str, headers: Mapping[str, str], body: bytes = b"") -> _Answer:
        """A request, made once more when it failed for the clock or for stale credentials."""
        answer = self._once(method, key, query, headers, body)
        code = _text(answer.body, "Code") if answer.status >= 400 else ""
        if code == SKEWED and "date" in answer.headers:
            self._ahead = _date(answer.headers["date"], self._clock()) - self._clock()
        elif code in STALE:
            self._forget()
        if code == SKEWED or code in STALE:
            answer = self._once(method, key, query, headers, body)
        if answer.status in (200, 204):
            return answer
        raise _failure(answer.status, answer.body, retry_after(answer.headers.get("retry-after", "")))

    def _once(self, method: str, key: str, query: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        path = f"{self._address.path}/{quote(key, safe='/-_.~')}" + (f"?{query}" if query else "")
        signed = self._sign(method, path, {**headers, "content-length": str(len(body))}, body)
        content = PacedBody(body, self._pace)
        try:
            response = self._http.request(
                method,
                self._address.root + path,
                body=content if body else None,
                headers=signed,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                said = response.read(MAX_RESPONSE)
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            reason = f"the bucket cannot be reached: {type(error).__name__}"
            raise UploadError(reason, failure="offline") from error
        finally:
            self._spend(content.sent)
        return _Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, said)

    def _sign(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        credentials = self._credentials()
        provider = AwsCredentialsProvider.new_static(
            credentials.access_key, credentials.secret_key, credentials.token or None
        )
        request = HttpRequest(
            method, path, HttpHeaders([("host", urlsplit(self._address.root).netloc), *headers.items()])
        )
        config = AwsSigningConfig(
            credentials_provider=provider,
            region=self._address.region,
            service="s3",
            date=self._clock() + self._ahead,
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=hashlib.sha256(body).hexdigest(),
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        try:
            aws_sign_request(request, config).result(SIGN_SECONDS)
        except AwsCrtError as error:
            raise UploadError(f"a request cannot be signed: {error.name}", failure="denied") from None
        return dict(request.headers)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _failure(status: int, body: bytes, pause: float | None) -> UploadError:
    """What an unsuccessful response means. Only the code is quoted: the text may hold the request."""
    code = _text(body, "Code")
    code = code if _CODE.fullmatch(code) else ""
    failure: UploadFailure
    if code == "NoSuchUpload":
        failure = "unknown_upload"
    elif code in PATIENCE or status in (200, 408, 409, 429) or status >= 500:
        failure = "busy"
    elif code in STALE or code in MISCONFIGURED or code == SKEWED or status in (301, 302, 307, 308, 401, 403):
        failure = "denied"
    else:
        failure = "refused" if 400 <= status < 500 else "busy"
    return UploadError(f"the bucket responded {status} {code}".rstrip(), failure=failure, retry_after=pause)


def _confirm(answer: _Answer, expected: str, got: str = "") -> None:
    got = got or answer.headers.get("x-amz-checksum-sha256", "")
    if got != expected:
        raise UploadError("expected the bucket to confirm the SHA-256 of what it has, got another", failure="busy")


def _checked(checksum: str) -> dict[str, str]:
    """Has the bucket compare what it gets, and confirm it. S3 sees by itself which algorithm it is; others are told."""
    return {"x-amz-checksum-sha256": checksum, "x-amz-sdk-checksum-algorithm": "SHA256"}


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _quoted(upload: str) -> str:
    return quote(upload, safe="-_.~")


def _text(body: bytes, member: str) -> str:
    """The text of an XML document's member, in whatever namespace; empty where there is none."""
    if b"<!" in body:  # S3 declares no types and entities
        return ""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return ""
    return next((e.text or "" for e in root.iter() if e.tag.rpartition("}")[2] == member), "")


def _date(value: str, otherwise: datetime) -> datetime:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return otherwise
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
