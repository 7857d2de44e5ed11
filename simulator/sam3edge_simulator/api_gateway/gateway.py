"""What API Gateway does around the two functions: sizes, the authorizer, its own responses."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sam3edge_serving.api.authorizer import UNAUTHORIZED
from sam3edge_serving.api.gateway_responses import GATEWAY_RESPONSES, LAMBDA_TIMEOUT_SECONDS, REQUEST_ID
from sam3edge_simulator.api_gateway.events import HttpReply, HttpRequest, authorizer_event, from_response, to_event

Function: TypeAlias = Callable[[dict[str, Any], Any], dict[str, Any]]

GATEWAY_BYTES = 10 * 2**20
LAMBDA_BYTES = 6_291_456
"""Of a request and of an event ("Quotas" of API Gateway and of Lambda)."""


@dataclass(frozen=True, slots=True)
class Context:
    """Lambda's context object, as far as it is used."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:local"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = field(default_factory=lambda: time.monotonic() + LAMBDA_TIMEOUT_SECONDS)

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda would end the function."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class Gateway:
    """Runs the functions for HTTP requests, one at a time, as one execution environment of Lambda does.

    Args:
        function: of the API.
        authorizer: the authorizer function.
    """

    def __init__(self, function: Function, authorizer: Function) -> None:
        self._function = function
        self._authorizer = authorizer
        self._one = threading.Lock()

    def answer(self, request: HttpRequest) -> HttpReply:
        """Answer; never raises."""
        event = to_event(request)
        identity = str(event["requestContext"]["requestId"])
        if len(request.body) > GATEWAY_BYTES:
            return own("REQUEST_TOO_LARGE", {}, identity)
        with self._one:
            try:
                allowed = self._authorizer(authorizer_event(event), Context("authorizer"))
            except Exception as error:  # as API Gateway: what it fails with decides what is answered
                return own("UNAUTHORIZED" if str(error) == UNAUTHORIZED else "AUTHORIZER_FAILURE", {}, identity)
            context = {name: str(value) for name, value in (allowed.get("context") or {}).items()}
            if not _allows(allowed):
                return own("ACCESS_DENIED", context, identity)
            event["requestContext"]["authorizer"] = {**context, "principalId": allowed["principalId"]}
            if len(json.dumps(event)) > LAMBDA_BYTES:
                return own("REQUEST_TOO_LARGE", {}, identity)
            try:
                return from_response(self._function(event, Context("api")))
            except Exception:  # as API Gateway
                return own("INTEGRATION_FAILURE", {}, identity)


def own(kind: str, authorizer: Mapping[str, str], request_id: str = "") -> HttpReply:
    """A gateway response, to a request that has an id or gets one."""
    response = GATEWAY_RESPONSES[kind]
    identity = (REQUEST_ID, request_id or str(uuid.uuid4()))
    headers = [("Content-Type", "application/json"), identity, *response.headers.items()]
    return HttpReply(response.status or 400, headers, response.render(authorizer).encode())


def _allows(policy: Mapping[str, Any]) -> bool:
    statements = policy["policyDocument"]["Statement"]
    return bool(statements) and all(statement["Effect"] == "Allow" for statement in statements)
