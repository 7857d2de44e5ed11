"""The Lambda authorizer of the REST API (type REQUEST, no caching): which key a request carries.

API Gateway's usage plans throttle by key, but it looks for keys in ``x-api-key`` only. So ``apiKeySource`` is
``AUTHORIZER``, and this function reads either header and answers with ``usageIdentifierKey``. That is the value of a
key of the usage plan: here the id of our key, never the key itself (``keys.py``).

Without a key API Gateway is told "Unauthorized", which gives its gateway response UNAUTHORIZED; with a wrong one it is
told to deny, which gives ACCESS_DENIED with the reason from the context. ``gateway_responses.py`` has both in OpenAI's
shape.
"""

from __future__ import annotations

import functools
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerRequestEvent,
    APIGatewayAuthorizerResponse,
)

from sam3edge_serving.api.keys import MISSING, DynamoKeys, KeyRefused, KeyStore, check, presented
from sam3edge_serving.api.settings import AuthorizerSettings
from sam3edge_serving.environment import read_settings

logger = Logger(service="sam3edge-authorizer")

UNAUTHORIZED = "Unauthorized"
"""API Gateway compares the error's message with this very word."""

NOBODY = "nobody"


def authorize(event: dict[str, Any], store: KeyStore) -> dict[str, Any]:
    """The policy for a request.

    Raises:
        Exception: ``UNAUTHORIZED``, when it carries no key.
    """
    request = APIGatewayAuthorizerRequestEvent(event)
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    context = {"requestId": (event.get("requestContext") or {}).get("requestId", "")}
    arn = request.parsed_arn
    response = functools.partial(
        APIGatewayAuthorizerResponse,
        region=arn.region,
        aws_account_id=arn.aws_account_id,
        api_id=arn.api_id,
        stage=arn.stage,
        partition=arn.partition,
    )
    try:
        record = check(store, presented(headers))
    except KeyRefused as refused:
        logger.info("refused", extra={**context, "reason": refused.code})
        if refused.code == MISSING:
            raise Exception(UNAUTHORIZED) from None
        denied = response(principal_id=NOBODY, context={"code": refused.code, "message": str(refused)})
        denied.deny_all_routes()
        return denied.asdict()
    logger.info("admitted", extra={**context, "key_id": record.id})
    allowed = response(principal_id=record.id, context={"keyId": record.id}, usage_identifier_key=record.id)
    allowed.allow_all_routes()
    return allowed.asdict()


@functools.cache
def _store() -> KeyStore:
    settings = read_settings(AuthorizerSettings)
    return DynamoKeys(boto3.resource("dynamodb").Table(settings.key_table))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """AWS Lambda's entry point."""
    return authorize(event, _store())
