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
from sam3edge_serving.http.errors import (
    BadGateway,
    BadRequest,
    Busy,
    Forbidden,
    GatewayTimeout,
    HttpError,
    InternalError,
    NotFound,
    TooLarge,
    Unauthorized,
    UnsupportedMedia,
)

BINARY_MEDIA_TYPES = ("*/*",)
"""Of the REST API: images in multipart bodies and compressed answers go through as they are."""

API_KEY_SOURCE = "AUTHORIZER"
LAMBDA_TIMEOUT_SECONDS = 29
"""Of the API function: API Gateway waits no longer by default."""

REQUEST_ID = "x-request-id"
"""Header of every response; API Gateway's id of the request."""

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
        fixed = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in self.headers.items()}
        return {f"gatewayresponse.header.{REQUEST_ID}": "context.requestId", **fixed}

    def render(self, authorizer: Mapping[str, str]) -> str:
        """The body, as API Gateway makes it; for servers that stand in for it."""
        return _VARIABLE.sub(lambda match: authorizer.get(match[1], ""), self.template)


def _response(error: HttpError) -> GatewayResponse:
    return GatewayResponse(error.status, json.dumps(error.body()), error.headers)


_NO_KEY = "no API key was sent; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'"
_KEY_NOT_CHECKED = "the API key could not be checked; "
_FAILED = "the API failed on this request; try again"

GATEWAY_RESPONSES: Mapping[str, GatewayResponse] = MappingProxyType(
    {
        "UNAUTHORIZED": _response(Unauthorized(_NO_KEY, code=MISSING)),
        "ACCESS_DENIED": _response(Unauthorized("$context.authorizer.message", code="$context.authorizer.code")),
        "INVALID_API_KEY": _response(Unauthorized("the API key belongs to no usage plan; tell the operator")),
        "EXPIRED_TOKEN": _response(Unauthorized("the signature of the request has expired")),
        "INVALID_SIGNATURE": _response(Unauthorized("send an API key as 'Authorization: Bearer KEY'")),
        "AUTHORIZER_FAILURE": _response(InternalError(_KEY_NOT_CHECKED + "try again")),
        "AUTHORIZER_CONFIGURATION_ERROR": _response(InternalError(_KEY_NOT_CHECKED + "tell the operator")),
        "API_CONFIGURATION_ERROR": _response(InternalError("the API is not set up; tell the operator")),
        "THROTTLED": _response(
            Busy("too many requests with this key; try again later", code="rate_limit_exceeded", retry_after=1)
        ),
        "QUOTA_EXCEEDED": _response(
            Busy("the quota of this key is used up; ask the operator for more", code="insufficient_quota")
        ),
        "REQUEST_TOO_LARGE": _response(TooLarge("the request is too large; send large images by POST /v1/uploads")),
        "UNSUPPORTED_MEDIA_TYPE": _response(
            UnsupportedMedia("the body must be application/json or multipart/form-data")
        ),
        "BAD_REQUEST_BODY": _response(BadRequest("the body of the request is not as expected")),
        "BAD_REQUEST_PARAMETERS": _response(BadRequest("the parameters of the request are not as expected")),
        "MISSING_AUTHENTICATION_TOKEN": _response(
            NotFound("there is no such path, or not with this method; see GET /v1/models")
        ),
        "RESOURCE_NOT_FOUND": _response(NotFound("there is no such path")),
        "WAF_FILTERED": _response(Forbidden("the request was refused by a filter", code="filtered")),
        "INTEGRATION_FAILURE": _response(BadGateway(_FAILED, code=InternalError.default_code)),
        "INTEGRATION_TIMEOUT": _response(
            GatewayTimeout("no response in time; send a smaller image or fewer phrases, or use POST /v1/uploads")
        ),
        "DEFAULT_4XX": GatewayResponse(
            None,
            '{"error": {"message": $context.error.messageString, "type": "invalid_request_error", "param": null, '
            f'"code": "{BadRequest.default_code}"}}}}',
        ),
        "DEFAULT_5XX": _response(InternalError(_FAILED)),
    }
)
"""By type."""
