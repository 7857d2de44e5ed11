"""The custom authorizer of AWS IoT Core for the live page: who has a token sees what the devices of a stage publish.

AWS IoT Core checks the signature of the token's id with the operator's public key before it calls this function, so
that nobody else makes it run. The token's secret comes as MQTT's password. What is granted is the policy below, for a
while; AWS IoT Core asks again every ``REFRESH_SECONDS``, and a token that has expired or was revoked then ends the
connection.

https://docs.aws.amazon.com/iot/latest/developerguide/custom-auth-lambda.html
"""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import boto3
from aws_lambda_powertools import Logger
from pydantic import Field

from sam3edge.core.messages.topics import COMMANDS, NAMES, PING
from sam3edge_serving.environment import EnvironmentSettings, read_settings
from sam3edge_serving.live_map.tokens import ID, SecretTokens, TokenRecord, TokenStore, digest

logger = Logger(service="sam3edge-page")

PREFIX = "SAM3EDGE_PAGE_"
CLIENTS = "sam3edge-page-"
"""What client ids of pages begin with; those of devices do not."""

AVAILABILITY = "availability"
"""Of brokers that keep a device's Last Will: the page asks for it everywhere."""

LISTENED = (*(name for name in NAMES if name not in (COMMANDS, PING)), AVAILABILITY)
"""Topics of a device, below its prefix, that pages hear."""

REFRESH_SECONDS = 300
MIN_SESSION, MAX_SESSION = 300, 86_400
"""Bounds of AWS IoT Core, in seconds."""


class AuthorizerSettings(EnvironmentSettings):
    """What the function is told.

    Attributes:
        secret: ARN of the secret with the records of tokens.
        things: what names of the stage's things begin with.
        commands: whether pages may send commands to devices.
        session_seconds: after which a page must connect again.
    """

    prefix: ClassVar[str] = PREFIX
    secret: str = Field(alias="SAM3EDGE_PAGE_SECRET", min_length=1)
    things: str = Field(alias="SAM3EDGE_PAGE_THINGS", pattern=r"^[\w:-]+$")
    commands: Literal["allowed", "denied"] = Field("denied", alias="SAM3EDGE_PAGE_COMMANDS")
    session_seconds: int = Field(3600, alias="SAM3EDGE_PAGE_SESSION_SECONDS", ge=MIN_SESSION, le=MAX_SESSION)


class Refused(Exception):
    """Why nobody is let in; for the log, since AWS IoT Core tells nobody."""


def authorize(
    event: Mapping[str, Any], store: TokenStore, settings: AuthorizerSettings, place: str, now: float
) -> dict[str, Any]:
    """The answer to AWS IoT Core.

    Args:
        place: what ARNs of AWS IoT begin with, ``arn:aws:iot:<region>:<account>``.
        now: seconds since 1970.
    """
    connection = _member(event, "connectionMetadata").get("id", "")
    try:
        record = check(event, store, now)
    except Refused as refused:
        logger.info("refused", extra={"connection": connection, "reason": str(refused)})
        return {"isAuthenticated": False}
    logger.info("admitted", extra={"connection": connection, "token_id": record.id})
    return {
        "isAuthenticated": True,
        "principalId": record.id,
        "disconnectAfterInSeconds": max(MIN_SESSION, min(settings.session_seconds, int(record.expires - now))),
        "refreshAfterInSeconds": REFRESH_SECONDS,
        "policyDocuments": policies(place, settings),
    }


def check(event: Mapping[str, Any], store: TokenStore, now: float) -> TokenRecord:
    """Whose token it is.

    Raises:
        Refused: no token, an unsigned, unknown or wrong one, one that has expired, or a client that is no page.
    """
    if event.get("signatureVerified") is not True:
        raise Refused("the token's id is not signed")
    mqtt = _member(_member(event, "protocolData"), "mqtt")
    token, client = event.get("token"), mqtt.get("clientId")
    if not isinstance(token, str) or not ID.fullmatch(token):
        raise Refused("there is no token id")
    if not isinstance(client, str) or not client.startswith(CLIENTS):
        raise Refused(f"the client id does not begin with {CLIENTS}")
    record = store.find(token)
    kept = record.sha256 if record is not None else "0" * 64
    same = hmac.compare_digest(digest(_password(mqtt)).encode(), kept.encode())
    if record is None or not same:
        raise Refused("the token is not known, or its secret is wrong")
    if record.expires <= now:
        raise Refused("the token has expired")
    return record


def policies(place: str, settings: AuthorizerSettings) -> list[dict[str, Any]]:
    """What a page may do. A document of AWS IoT's has a bound of 2048 characters, so each action has its own."""
    names = [f"sam3edge/{settings.things}*/{name}" for name in LISTENED]
    filters = [f"sam3edge/+/{name}" for name in LISTENED]
    granted = {
        "iot:Connect": [f"client/{CLIENTS}*"],
        "iot:Receive": [f"topic/{name}" for name in names],
        "iot:Subscribe": [f"topicfilter/{name}" for name in (*names, *filters)],
    }
    if settings.commands == "allowed":
        granted["iot:Publish"] = [f"topic/sam3edge/{settings.things}*/{COMMANDS}"]
    return [
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": [f"{place}:{one}" for one in resources]}],
        }
        for action, resources in granted.items()
    ]


def _password(mqtt: Mapping[str, Any]) -> str:
    """MQTT's password, which AWS IoT Core hands on in base64."""
    password = mqtt.get("password")
    if not isinstance(password, str) or not password:
        raise Refused("there is no password")
    try:
        return base64.b64decode(password, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("the password is not text in base64") from error


def _member(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = document.get(name)
    return member if isinstance(member, Mapping) else {}


@functools.cache
def _parts() -> tuple[TokenStore, AuthorizerSettings]:
    settings = read_settings(AuthorizerSettings)
    return SecretTokens(boto3.client("secretsmanager"), settings.secret, time.monotonic), settings


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """AWS Lambda's entry point."""
    partition, _, region, account = context.invoked_function_arn.split(":")[1:5]
    return authorize(event, *_parts(), f"arn:{partition}:iot:{region}:{account}", time.time())
