"""The endpoint by plain HTTP.

urllib3 and not a larger client: it knows proxies, TLS and streaming, has 1 MB and no dependencies, and boto3 stands on
it, too. What it would do by itself is switched off: retries (``core/fallback`` decides), redirects (a camera's images
go where the operator said and nowhere else) and unpacking (so that the bound on the response is a bound).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

from sam3edge.core.errors import EndpointError, SettingsError
from sam3edge.invocations.attributes import HEADER
from sam3edge.invocations.error_codes import error_message, meaning_of_status
from sam3edge.invocations.request import MAX_RESPONSE_BYTES, InvocationRequest

CONNECT_SECONDS = 5.0
CHUNK = 1 << 16


class HttpTransport:
    """Posts to one address.

    Args:
        url: ``http(s)://host[:port]``, of the container; with a path when it is not ``/invocations``.
        clock: seconds, monotonic.

    Raises:
        SettingsError: not such an address.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = invocations_url(url)
        self._clock = clock
        self._pool = pool_for(self._url)

    def send(self, request: InvocationRequest, seconds: float) -> bytes:
        """See ``Transport``."""
        deadline = self._clock() + seconds
        headers = {"Content-Type": request.content_type, "Accept": request.accept, "Accept-Encoding": "identity"}
        if request.attributes:
            headers[HEADER] = request.attributes
        try:
            response = self._pool.request(
                "POST",
                self._url,
                body=request.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), total=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                body = self._read(response, deadline)
            finally:
                response.close()
        except HTTPError as error:
            # urllib3 counts a connection that is refused among its time-outs
            if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
                raise EndpointError(f"no response within {seconds:.1f} s", failure="timeout") from error
            raise EndpointError(
                f"the endpoint cannot be reached: {type(error).__name__}", failure="unreachable", retryable=True
            ) from error
        if response.status == 200:
            return body
        meaning, said = meaning_of_status(response.status), error_message(body)
        raise EndpointError(
            f"the endpoint responded {response.status}{f': {said[:300]}' if said else ''}",
            failure=meaning.failure,
            said=said,
            retryable=meaning.retryable,
            retry_after=retry_after(response.headers.get("Retry-After", "")),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.stream(CHUNK):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise EndpointError(f"the response has more than {MAX_RESPONSE_BYTES} bytes")
            if self._clock() > deadline:
                raise EndpointError("the response arrived too slowly", failure="timeout")
        return bytes(body)


def invocations_url(url: str) -> str:
    """The address that is posted to.

    Raises:
        SettingsError: not the address of an endpoint.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("the endpoint must be http(s)://host[:port][/path] or the name of a SageMaker endpoint")
    if parts.username or parts.password:
        raise SettingsError("the endpoint's address must not hold a password: it would be in configurations and logs")
    path = parts.path if parts.path.strip("/") else "/invocations"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110, 10.2.3); None when it is neither."""
    if value.strip().isdecimal():
        return float(value) if len(value) < 10 else None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - (now or datetime.now(timezone.utc))).total_seconds())


def pool_for(url: str) -> urllib3.PoolManager:
    """With the proxy that the nucleus sets for its components, if it does."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()
