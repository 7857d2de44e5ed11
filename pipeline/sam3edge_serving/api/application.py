"""From API Gateway's proxy event (REST, payload version 1) to its proxy response."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.metrics import MetricUnit

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import JSON, Reply, Request
from sam3edge_serving.api.gateway_responses import REQUEST_ID
from sam3edge_serving.api.model import too_long
from sam3edge_serving.api.routes import chat, detections, models, responses, segmentations, uploads
from sam3edge_serving.http.errors import BadRequest, HttpError, InternalError, MethodNotAllowed, NotFound, Unauthorized

SERVICE, NAMESPACE = "sam3edge-api", "sam3edge"

MAX_BYTES = 6_291_556
"""Of a function's response as JSON ("Lambda quotas" in AWS's documentation)."""

COMPRESSED_FROM = 32_768
"""Bytes: shorter replies are not worth compressing."""

logger = Logger(service=SERVICE)

_PATHS: tuple[tuple[str, str], ...] = (
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/images/segmentations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/<model_id>"),
    ("POST", "/v1/detections"),
    ("GET", "/v1/detections/<job_id>"),
    ("POST", "/v1/uploads"),
)


class Application:
    """The API function. One request at a time, as Lambda runs it.

    What is logged of a request: its id, the key's id, method, route, status, error code and duration. Never headers,
    bodies, phrases or messages of unexpected exceptions, which may quote any of them.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
        self._resolver = APIGatewayRestResolver(debug=False)
        app = self._resolver
        app.post("/v1/chat/completions")(lambda: self._run(lambda request: chat.complete(parts, request)))
        app.post("/v1/responses")(lambda: self._run(lambda request: responses.respond(parts, request)))
        app.post("/v1/images/segmentations")(lambda: self._run(lambda request: segmentations.segment(parts, request)))
        app.get("/v1/models")(lambda: self._run(lambda _: models.list_models(parts)))
        app.get("/v1/models/<model_id>")(lambda model_id: self._run(lambda _: models.one_model(parts, model_id)))
        app.post("/v1/detections")(lambda: self._run(lambda request: detections.detect(parts, request)))
        app.get("/v1/detections/<job_id>")(
            lambda job_id: self._run(lambda request: detections.look(parts, request, job_id))
        )
        app.post("/v1/uploads")(lambda: self._run(lambda request: uploads.offer(parts, request)))
        app.not_found(lambda _: self._refused(_elsewhere(self._resolver.current_event.path)))

    def handle(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event."""
        started = time.perf_counter()
        request_id = (event.get("requestContext") or {}).get("requestId") or getattr(context, "aws_request_id", "")
        logger.structure_logs(append=False, request_id=request_id)
        self._parts.once.within(context)
        response = _fit(self._resolver.resolve(event, context), event)
        headers = response.setdefault("multiValueHeaders", {})
        headers[REQUEST_ID] = [request_id]
        self._account(event, int(response["statusCode"]), (time.perf_counter() - started) * 1000)
        return response

    def _run(self, route: Callable[[Request], Reply]) -> Response[str]:
        try:
            return _response(route(self._request()))
        except HttpError as error:
            return self._refused(error)
        except Exception as error:  # the function's supervisor; powertools' own would log what the exception says
            _log_unexpected(error)
            return _response(_error_reply(InternalError("the API failed on this request; try again")))

    def _refused(self, error: HttpError) -> Response[str]:
        logger.info("refused", extra={"status": error.status, "code": error.code})
        return _response(_error_reply(error))

    def _request(self) -> Request:
        event = self._resolver.current_event
        raw = event.raw_event
        gateway = raw.get("requestContext") or {}
        key_id = (gateway.get("authorizer") or {}).get("keyId")
        if not key_id:
            raise Unauthorized("the request did not pass the authorizer", code="missing_api_key")
        logger.append_keys(key_id=key_id)
        headers = {name.lower(): value for name, value in (raw.get("headers") or {}).items()}
        body = raw.get("body") or ""
        try:
            data = base64.b64decode(body, validate=True) if raw.get("isBase64Encoded") else body.encode()
        except ValueError:
            raise BadRequest("the body did not come through as it was sent") from None
        return Request(gateway.get("requestId", ""), event.http_method, event.path, headers, data, key_id)

    def _account(self, event: Mapping[str, Any], status: int, milliseconds: float) -> None:
        route, method = _route_of(str(event.get("path", ""))), str(event.get("httpMethod", ""))[:10]
        logger.info(
            "answered", extra={"method": method, "route": route, "status": status, "milliseconds": round(milliseconds)}
        )
        self._metrics.add_dimension(name="route", value=route)
        self._metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
        self._metrics.add_metric(name="Latency", unit=MetricUnit.Milliseconds, value=milliseconds)
        self._metrics.add_metric(name="ClientErrors", unit=MetricUnit.Count, value=int(400 <= status < 500))
        self._metrics.add_metric(name="ServerErrors", unit=MetricUnit.Count, value=int(status >= 500))
        self._metrics.flush_metrics()


def _elsewhere(path: str) -> HttpError:
    """No such path, or not with this method."""
    route = _route_of(path)
    allowed = tuple(method for method, known in _PATHS if known == route)
    if allowed:
        return MethodNotAllowed(f"{route} takes {', '.join(allowed)}", allowed)
    known = ", ".join(f"{method} {name.replace('<', '{').replace('>', '}')}" for method, name in _PATHS)
    return NotFound(f"there is no such path; there are {known}")


def _route_of(path: str) -> str:
    """The path with its ids left out; metrics and logs have few values of it."""
    segments = path.rstrip("/").split("/")
    for _, known in _PATHS:
        pattern = known.split("/")
        if len(pattern) == len(segments) and all(
            p == s or (p.startswith("<") and s) for p, s in zip(pattern, segments, strict=True)
        ):
            return known
    return "other"


def _error_reply(error: HttpError) -> Reply:
    return Reply(error.status, error.json(), JSON, error.headers)


def _response(reply: Reply) -> Response[str]:
    return Response(reply.status, reply.content_type, reply.body, dict(reply.headers))


def _plain(reply: Reply) -> dict[str, Any]:
    headers = {name: [value] for name, value in {"Content-Type": reply.content_type, **reply.headers}.items()}
    return {"statusCode": reply.status, "body": reply.body, "isBase64Encoded": False, "multiValueHeaders": headers}


def _fit(response: dict[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Compress what the client takes compressed; refuse what Lambda would not pass on."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    body: str = response["body"]
    if len(body) >= COMPRESSED_FROM and "gzip" in headers.get("accept-encoding", "").lower():
        small = base64.b64encode(gzip.compress(body.encode(), 5, mtime=0)).decode()
        coding = {"Content-Encoding": ["gzip"], "Vary": ["Accept-Encoding"]}
        merged = {**(response.get("multiValueHeaders") or {}), **coding}
        response = {**response, "body": small, "isBase64Encoded": True, "multiValueHeaders": merged}
    size = len(json.dumps(response))
    return response if size <= MAX_BYTES else _plain(_error_reply(too_long(size, MAX_BYTES)))


def _log_unexpected(error: Exception) -> None:
    """Where it happened, without what it says: messages of libraries quote what they were given."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in frames]  # noqa: PTH119
    logger.error("unexpected", extra={"error": type(error).__name__, "places": places})
