"""The HTTP surface that SageMaker expects of a container: ``GET /ping`` and ``POST /invocations``; and what operators
expect: ``GET /metrics`` and the OpenAPI document."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sam3edge.invocations.attributes import HEADER, write_unsupported
from sam3edge_serving.endpoint.admission import Admission, ByteBudget
from sam3edge_serving.endpoint.batching import Batcher
from sam3edge_serving.endpoint.fetching import Fetcher, NoFetcher, allowed_hosts
from sam3edge_serving.endpoint.formats.requests import FORMAT_PATHS
from sam3edge_serving.endpoint.loading import Load
from sam3edge_serving.endpoint.metrics import Metrics
from sam3edge_serving.endpoint.negotiation import JSON, body_of
from sam3edge_serving.endpoint.openapi import TITLE, VERSION, document
from sam3edge_serving.endpoint.service import COMES_BACK, Call, Reply, Service, Workers
from sam3edge_serving.endpoint.settings import Settings
from sam3edge_serving.http.errors import (
    GatewayTimeout,
    HttpError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotReady,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
)
from sam3edge_serving.http.remote_images import FetchRules, RemoteImages

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_THEIR_IDS = (REQUEST_ID, "X-Amzn-SageMaker-Inference-Id")
_PLAUSIBLE_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)

GONE = 499
"""Logged and counted, never sent: the client did not wait for its answer."""

_ROUTES = f"this endpoint has POST /invocations, {', '.join(FORMAT_PATHS)}, and GET /ping, /metrics and /openapi.json"

FETCHES = 8
"""Images that are fetched at a time."""


class Endpoint:
    """The handlers of all routes, and the parts they share.

    Args:
        load: makes the engine, see ``loading.examine``.
        failed: told why there will be no engine.
    """

    def __init__(self, settings: Settings, load: Load, failed: Callable[[Exception], None]) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._batcher = Batcher(load, settings.max_batch, settings.batch_wait, self._metrics, failed)
        self._admission = Admission(settings.max_requests, settings.peer_share)
        self._bytes = ByteBudget(max(settings.max_pending_bytes, settings.max_body))
        self._workers = Workers(
            ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compute"),
            ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch"),
        )
        hosts = allowed_hosts(settings.fetch_hosts)
        rules = FetchRules(hosts, settings.max_body, settings.fetch_time)
        fetcher = Fetcher(RemoteImages(rules)) if hosts else NoFetcher()
        self._service = Service(settings, self._batcher, fetcher, self._workers)

    @asynccontextmanager
    async def life(self, _: FastAPI) -> AsyncIterator[None]:
        """Loads the model in its thread; at the end, when no request is left, lets it go."""
        self._batcher.start()
        yield
        await asyncio.to_thread(self._batcher.close, float(self._settings.drain))
        for pool in (self._workers.compute, self._workers.fetch):
            pool.shutdown(wait=False, cancel_futures=True)

    async def ping(self, request: Request) -> Response:
        """Ready when the model is verified and warm, and does not fail all the time."""
        if self._batcher.not_ready_reason:
            return _refusal(self._unready(), request_id(request.headers))
        return Response()

    async def metrics(self, _: Request) -> Response:
        """For Prometheus."""
        written = self._metrics.write(self._admission.inside, self._batcher.waiting, self._batcher.model)
        return Response(written, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def invocations(self, request: Request) -> Response:
        """One request, answered, refused, or given up because its client is gone."""
        started, identity = time.perf_counter(), request_id(request.headers)
        context = {"request": identity}
        try:
            reply = await self._answer(request)
            response = Response(reply.body, media_type=reply.media_type, headers={REQUEST_ID: identity})
            if reply.unsupported_prompts:  # SageMaker passes this header on, and no other of ours
                response.headers[HEADER] = write_unsupported(reply.unsupported_prompts)
        except HttpError as error:
            response = _refusal(error, identity)
            if error.status >= 500:
                logger.error("%s: %s", error.code, error, extra=context)
        except ClientDisconnect:
            response = Response(status_code=GONE)
        seconds = time.perf_counter() - started
        logger.info("answered %d in %.0f ms", response.status_code, seconds * 1000, extra=context)
        self._metrics.request(_form(request.headers), response.status_code, seconds)
        return response

    async def _answer(self, request: Request) -> Reply:
        if self._batcher.model is None:
            raise self._unready()
        peer = request.client.host if request.client else ""
        self._admission.require_room(peer)  # rather than after a body that would be for nothing
        with self._bytes.hold() as take:
            body = await read_body(request, self._settings.max_body, self._settings.body_time, take)
            with self._admission.enter(peer), anyio.move_on_after(self._settings.deadline):
                headers = request.headers
                call = Call(
                    body,
                    headers.get("Content-Type", ""),
                    headers.get("Accept", ""),
                    ",".join(headers.getlist(HEADER)),
                    request.url.path,
                )
                return await _attended(request, self._service.answer(call))
        raise GatewayTimeout(f"there was no answer within {self._settings.deadline:g} s; send less at once")

    def _unready(self) -> NotReady:
        return NotReady(f"the endpoint is not ready: {self._batcher.not_ready_reason}", retry_after=COMES_BACK)


def create_app(settings: Settings, load: Load, failed: Callable[[Exception], None]) -> FastAPI:
    """The application; see ``Endpoint``."""
    endpoint = Endpoint(settings, load, failed)
    app = FastAPI(title=TITLE, version=VERSION, lifespan=endpoint.life, docs_url=None, redoc_url=None)
    app.add_api_route("/ping", endpoint.ping, methods=["GET"])
    app.add_api_route("/metrics", endpoint.metrics, methods=["GET"])
    for path in ("/invocations", *FORMAT_PATHS):
        app.add_api_route(path, endpoint.invocations, methods=["POST"])
    app.add_exception_handler(404, _no_such_path)
    app.add_exception_handler(405, _no_such_method)
    app.add_exception_handler(Exception, _failed)
    described = document(app)
    app.openapi = lambda: described  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


async def read_body(request: Request, most: int, seconds: float, take: Callable[[int], None]) -> bytes:
    """The body, refused as soon as it is known to be too large.

    Args:
        take: told of the bytes as they come, see ``ByteBudget``.

    Raises:
        TooLarge: it has more than ``most`` bytes.
        RequestTimeout: it did not come within ``seconds``.
        UnsupportedMedia: it is compressed as a whole.
        ClientDisconnect: it will never come.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"the body must not be compressed as a whole, its Content-Encoding is {encoding[:40]!r}")
    too_large = TooLarge(f"a request must have at most {most} bytes; send a smaller image, or fewer at once")
    declared = request.headers.get("Content-Length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise too_large
    pieces, size = [], 0
    with anyio.move_on_after(seconds):
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large
            take(len(piece))
            pieces.append(piece)
        return b"".join(pieces)
    raise RequestTimeout(f"the body did not come within {seconds:g} s")


def request_id(headers: Headers) -> str:
    """Who asks calls the request, if it is fit for a log; else a new name."""
    given = (headers.get(name, "") for name in _THEIR_IDS)
    return next((name for name in given if _PLAUSIBLE_ID.fullmatch(name)), str(uuid.uuid4()))


async def _attended(request: Request, work: Coroutine[Any, Any, Reply]) -> Reply:
    """Work as long as the client is there; raises ClientDisconnect."""
    answer, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise ClientDisconnect
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _form(headers: Headers) -> str:
    """The kind of body, for the metrics."""
    try:
        return body_of(headers.get("Content-Type", "")).value
    except UnsupportedMedia:
        return "other"


def _refusal(error: HttpError, identity: str) -> Response:
    return Response(error.json(), error.status, {**error.headers, REQUEST_ID: identity}, JSON)


async def _no_such_path(request: Request, _: Exception) -> Response:
    return _refusal(NotFound(f"there is no such path; {_ROUTES}"), request_id(request.headers))


async def _no_such_method(request: Request, error: Exception) -> Response:
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    refused = MethodNotAllowed(f"{request.url.path[:80]} takes {allowed}; {_ROUTES}", allowed.split(", "))
    return _refusal(refused, request_id(request.headers))


async def _failed(request: Request, _: Exception) -> Response:
    """A fault of ours; the server logs it with its traceback."""
    return _refusal(InternalError("the endpoint failed on this request; its log says why"), request_id(request.headers))
