"""Connections that do not move: closed, so that those of clients who only hold them never use up the endpoint."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sam3edge_serving.http.errors import RequestTimeout

logger = logging.getLogger(__name__)

BODY_GRACE = 2.0
"""Seconds that the application has to refuse a body that does not come, before its connection is closed."""

SEND_SECONDS = 60.0
"""In which a client must have taken so much of an answer that the rest fits into the buffers between us."""


class TimedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests must come within a time, and whose answers must be taken.

    uvicorn itself only limits how long a connection is idle between requests, and every byte starts that anew.

    Args:
        header_time: seconds from the connection, or from the first byte of a later request, to the end of its headers.
        body_time: seconds that the application gives a body from then on; it answers 408 itself.
    """

    def __init__(self, *args: Any, header_time: float, body_time: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_time = header_time
        self._body_time = body_time
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._within(self._header_time, "headers")

    def data_received(self, data: bytes) -> None:
        if self._receiving is None:  # a further request begins, if only with the empty lines that parsers skip
            self._within(self._header_time, "headers")
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._within(self._body_time + BODY_GRACE, "body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """As uvicorn's, but the application is only woken for pieces of some size: clients that send byte by byte would
        cost a wake-up each time, which all others wait for."""
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._stop_receiving()
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_receiving()
        self._stop_sending()
        super().connection_lost(exc)

    def _within(self, seconds: float, part: str) -> None:
        self._stop_receiving()
        self._receiving = self.loop.call_later(seconds, self._expired, seconds, part)

    def _expired(self, seconds: float, part: str) -> None:
        """Give up; with an answer if none was begun."""
        if self.transport.is_closing():
            return
        whole = self.cycle is not None and not self.cycle.more_body
        if self.pipeline or (whole and not self.cycle.response_complete):
            self._within(seconds, part)  # a request before this one is still being answered, and nothing read meanwhile
            return
        if part == "headers":
            body = RequestTimeout(f"the headers of the request did not come within {seconds:g} s").json().encode()
            status = HTTPStatus.REQUEST_TIMEOUT
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
                % (status, status.phrase.encode(), len(body))
                + body
            )
        self.transport.close()

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None


def timed(header_time: float, body_time: float) -> Callable[..., TimedProtocol]:
    """What uvicorn makes a protocol of a connection with."""
    return partial(TimedProtocol, header_time=header_time, body_time=body_time)


def allow_many() -> None:
    """As many connections as this process may have: the soft limit of descriptors is made for ``select``."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open connections stays as it is: %s", error)
