"""What API Gateway itself answers, before or instead of the function, in OpenAI's shape; and how it must be set up.

The infrastructure makes an ``AWS::ApiGateway::GatewayResponse`` of each. Types and variables: "Gateway response types"
and "API Gateway mapping template and access logging variable reference" in the developer guide of API Gateway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sam3edge_serving.api.keys import MISSING

BINARY_MEDIA_TYPES = ("*/*",)
"""Of the REST API: images in multipart bodies and compressed answers go through as they are."""

API_KEY_SOURCE = "AUTHORIZER"
LAMBDA_TIMEOUT_SECONDS = 29
"""Of the API function: API Gateway waits no longer by default."""

_INVALID, _LIMIT, _SERVER = "invalid_request_error", "rate_limit_error", "server_error"
_VARIABLE = re.compile(r"\$context\.authorizer\.(\w+)")


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """One gateway response.

    Attributes:
        status: what is answered; None leaves API Gateway's own.
        template: of the body, for ``application/json``.
        headers: name to value, without API Gateway's quotes and prefix.
    """

    status: int | None
    template: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """As ``ResponseParameters`` of CloudFormation."""
        return {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in self.headers.items()}

    def render(self, authorizer: Mapping[str, str]) -> str:
        """The body, as API Gateway makes it; for servers that stand in for it."""
        return _VARIABLE.sub(lambda match: authorizer.get(match[1], ""), self.template)


def _say(status: int, kind: str, code: str, message: str, headers: Mapping[str, str] | None = None) -> GatewayResponse:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return GatewayResponse(status, json.dumps({"error": error}), headers or {})


_NO_KEY = "no API key was sent; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'"

GATEWAY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "UNAUTHORIZED": _say(401, _INVALID, MISSING, _NO_KEY, {"WWW-Authenticate": "Bearer"}),
        "ACCESS_DENIED": _say(
            401, _INVALID, "$context.authorizer.code", "$context.authorizer.message", {"WWW-Authenticate": "Bearer"}
        ),
        "INVALID_API_KEY": _say(
            401, _INVALID, "invalid_api_key", "the API key belongs to no usage plan; tell the operator"
        ),
        "AUTHORIZER_FAILURE": _say(500, _SERVER, "internal_error", "the API key could not be checked; try again"),
        "AUTHORIZER_CONFIGURATION_ERROR": _say(
            500, _SERVER, "internal_error", "the API key could not be checked; tell the operator"
        ),
        "API_CONFIGURATION_ERROR": _say(500, _SERVER, "internal_error", "the API is not set up; tell the operator"),
        "THROTTLED": _say(
            429, _LIMIT, "rate_limit_exceeded", "too many requests with this key; try again later", {"Retry-After": "1"}
        ),
        "QUOTA_EXCEEDED": _say(
            429, _LIMIT, "insufficient_quota", "the quota of this key is used up; ask the operator for more"
        ),
        "REQUEST_TOO_LARGE": _say(
            413, _INVALID, "too_large", "the request is too large; send large images by POST /v1/uploads"
        ),
        "UNSUPPORTED_MEDIA_TYPE": _say(
            415, _INVALID, "unsupported_media_type", "the body must be application/json or multipart/form-data"
        ),
        "BAD_REQUEST_BODY": _say(400, _INVALID, "invalid_request", "the body of the request is not as expected"),
        "BAD_REQUEST_PARAMETERS": _say(
            400, _INVALID, "invalid_request", "the parameters of the request are not as expected"
        ),
        "MISSING_AUTHENTICATION_TOKEN": _say(
            404, _INVALID, "not_found", "there is no such path, or not with this method; see GET /v1/models"
        ),
        "RESOURCE_NOT_FOUND": _say(404, _INVALID, "not_found", "there is no such path"),
        "EXPIRED_TOKEN": _say(401, _INVALID, "invalid_api_key", "the signature of the request has expired"),
        "INVALID_SIGNATURE": _say(401, _INVALID, "invalid_api_key", "send an API key as 'Authorization: Bearer KEY'"),
        "WAF_FILTERED": _say(403, _INVALID, "filtered", "the request was refused by a filter"),
        "INTEGRATION_FAILURE": _say(502, _SERVER, "internal_error", "the API failed on this request; try again"),
        "INTEGRATION_TIMEOUT": _say(
            504, _SERVER, "timeout", "no answer in time; send a smaller image or fewer phrases, or use POST /v1/uploads"
        ),
        "DEFAULT_4XX": GatewayResponse(
            None,
            '{"error": {"message": $context.error.messageString, "type": "invalid_request_error", "param": null, '
            '"code": "invalid_request"}}',
        ),
        "DEFAULT_5XX": _say(500, _SERVER, "internal_error", "the API failed on this request; try again"),
    }
)
"""By type."""
