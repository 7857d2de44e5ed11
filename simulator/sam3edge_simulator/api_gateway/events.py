"""HTTP requests as API Gateway's events, and the functions' responses as HTTP.

After "Set up Lambda proxy integrations in API Gateway" and "Input to an API Gateway Lambda authorizer" in the developer
guide of API Gateway: REST API, payload version 1, binary media types ``*/*``.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ACCOUNT, REGION, API_ID, STAGE = "123456789012", "us-east-1", "local", "local"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """As it came over the wire; header names as they were sent, in their order."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes = field(repr=False)
    client: str


@dataclass(frozen=True, slots=True)
class HttpReply:
    """As it goes over the wire."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = field(repr=False)


def to_event(request: HttpRequest) -> dict[str, Any]:
    """The proxy event, without ``requestContext.authorizer``."""
    split = urlsplit(request.target)
    path = unquote(split.path)
    query = parse_qs(split.query, keep_blank_values=True)
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "stage": STAGE,
            "requestId": str(uuid.uuid4()),
            "httpMethod": request.method,
            "resourcePath": "/{proxy+}",
            "path": f"/{STAGE}{path}",
            "protocol": "HTTP/1.1",
            "identity": {"sourceIp": request.client, "userAgent": headers.get("User-Agent", [""])[-1]},
        },
        "body": base64.b64encode(request.body).decode() if request.body else None,
        "isBase64Encoded": bool(request.body),
    }


def authorizer_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event of an authorizer of type REQUEST; it has no body."""
    kept = {name: value for name, value in event.items() if name not in ("body", "isBase64Encoded")}
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{STAGE}/{event['httpMethod']}{event['path']}"
    return {"type": "REQUEST", "methodArn": arn, **kept}


def from_response(response: Mapping[str, Any]) -> HttpReply:
    """A proxy response as HTTP."""
    body = response.get("body") or ""
    data = base64.b64decode(body) if response.get("isBase64Encoded") else body.encode()
    headers = [(name, value) for name, value in (response.get("headers") or {}).items()]
    headers += [(n, value) for n, values in (response.get("multiValueHeaders") or {}).items() for value in values]
    return HttpReply(int(response["statusCode"]), headers, data)
