"""The custom authorizer of the live page, by events as AWS documents them.

https://docs.aws.amazon.com/iot/latest/developerguide/custom-auth-lambda.html
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge.core.messages.topics import NAMES
from sam3edge_serving.environment import read_settings
from sam3edge_serving.live_map import authorizer
from sam3edge_serving.live_map.authorizer import LISTENED, AuthorizerSettings, authorize, policies
from sam3edge_serving.live_map.tokens import SecretTokens, TokenRecord, new_token
from support.iam import Policy, policy_of

NOW = 1_795_824_000.0
PLACE = "arn:aws:iot:eu-central-1:111122223333"
TOLD = {"SAM3EDGE_PAGE_SECRET": "tokens", "SAM3EDGE_PAGE_THINGS": "sam3edge-dev-"}
SETTINGS = read_settings(AuthorizerSettings, TOLD)
COMMANDING = read_settings(AuthorizerSettings, {**TOLD, "SAM3EDGE_PAGE_COMMANDS": "allowed"})
PAGE = Path(authorizer.__file__).parent / "static" / "js" / "messages.js"
SECRET, RECORD = new_token("ada", int(NOW) + 86_400)
OWN = "sam3edge-dev-cam-7"


class Kept:
    """Records of tokens, without Secrets Manager."""

    def __init__(self, *records: TokenRecord) -> None:
        self._records = {one.id: one for one in records}

    def find(self, token_id: str) -> TokenRecord | None:
        return self._records.get(token_id)


def event(secret: str = SECRET, **changes: Any) -> dict[str, Any]:
    """What AWS IoT Core sends of a page that connects by WebSocket; members changed, those of MQTT by ``mqtt_...``;
    None takes one away."""
    document: dict[str, Any] = {
        "token": RECORD.id,
        "signatureVerified": True,
        "protocols": ["tls", "http", "mqtt"],
        "protocolData": {
            "tls": {"serverName": "abc-ats.iot.eu-central-1.amazonaws.com"},
            "http": {"headers": {"Upgrade": "websocket"}, "queryString": ""},
            "mqtt": {
                "username": f"page?x-amz-customauthorizer-name=sam3edge-dev-page&token={RECORD.id}",
                "password": base64.b64encode(secret.encode()).decode(),
                "clientId": "sam3edge-page-5d1c",
            },
        },
        "connectionMetadata": {"id": "0e6a59c2-6a1c-4a1d-9d84-8f2a7a4c0d55"},
    }
    for path, value in changes.items():
        inside, name = (document, path)
        if path.startswith("mqtt_"):
            inside, name = document["protocolData"]["mqtt"], path.removeprefix("mqtt_")
        if value is None:
            del inside[name]
        else:
            inside[name] = value
    return document


def answer(document: dict[str, Any], *records: TokenRecord, settings: AuthorizerSettings = SETTINGS) -> dict[str, Any]:
    return authorize(document, Kept(*(records or (RECORD,))), settings, PLACE, NOW)


def granted(settings: AuthorizerSettings = SETTINGS) -> Policy:
    return policy_of(*policies(PLACE, settings))


def test_whoever_has_a_token_is_let_in_for_a_while() -> None:
    given = answer(event())
    assert given["isAuthenticated"] is True
    assert given["principalId"].isalnum()  # AWS IoT Core takes nothing else
    assert (given["disconnectAfterInSeconds"], given["refreshAfterInSeconds"]) == (3600, 300)
    assert given["policyDocuments"] == policies(PLACE, SETTINGS)
    json.dumps(given)


@pytest.mark.parametrize(
    "changes",
    [
        {"token": None},
        {"token": ""},
        {"token": "0" * 24},
        {"token": RECORD.id.upper() + "\n"},
        {"token": 5},
        {"token": "../" + RECORD.id},
        {"signatureVerified": False},
        {"signatureVerified": None},
        {"signatureVerified": "true"},
        {"mqtt_password": None},
        {"mqtt_password": ""},
        {"mqtt_password": SECRET},  # not in base64
        {"mqtt_password": base64.b64encode(b"wrong").decode()},
        {"mqtt_password": base64.b64encode(b"\xff\xfe").decode()},
        {"mqtt_password": base64.b64encode(RECORD.sha256.encode()).decode()},
        {"mqtt_password": [SECRET]},
        {"mqtt_clientId": None},
        {"mqtt_clientId": OWN},
        {"mqtt_clientId": "sam3edge-page"},
        {"mqtt_clientId": ["sam3edge-page-1"]},
        {"protocolData": None},
        {"protocolData": {"http": {"queryString": f"?token={RECORD.id}"}}},
        {"protocolData": {"mqtt": "x"}},
    ],
)
def test_nobody_else_is(changes: dict[str, Any]) -> None:
    assert answer(event(**changes)) == {"isAuthenticated": False}


def test_nothing_at_all_is_refused_and_not_an_error() -> None:
    assert answer({}) == {"isAuthenticated": False}


def test_a_token_that_has_expired_is_refused_from_its_last_second_on() -> None:
    for expires, good in ((int(NOW) - 1, False), (int(NOW), False), (int(NOW) + 1, True)):
        assert answer(event(), replace(RECORD, expires=expires))["isAuthenticated"] is good


def test_the_secret_of_one_token_does_not_open_another() -> None:
    other_secret, other = new_token("bob", RECORD.expires)
    assert answer(event(), RECORD, other)["isAuthenticated"]
    assert not answer(event(other_secret), RECORD, other)["isAuthenticated"]
    assert answer(event(other_secret, token=other.id), RECORD, other)["principalId"] == other.id


@pytest.mark.parametrize(("left", "seconds"), [(86_400, 3600), (1800, 1800), (10, 300)])
def test_a_session_is_no_longer_than_the_token_is_good_as_far_as_aws_allows(left: int, seconds: int) -> None:
    given = answer(event(), replace(RECORD, expires=int(NOW) + left))
    assert given["disconnectAfterInSeconds"] == seconds


def test_a_page_connects_as_a_page_and_hears_all_devices_of_the_stage() -> None:
    page = granted()
    assert page.allows("iot:Connect", f"{PLACE}:client/sam3edge-page-5d1c")
    for name in (*(one for one in NAMES if one not in ("commands", "ping")), "availability"):
        assert page.allows("iot:Subscribe", f"{PLACE}:topicfilter/sam3edge/+/{name}")
        assert page.allows("iot:Subscribe", f"{PLACE}:topicfilter/sam3edge/{OWN}/{name}")
        assert page.allows("iot:Receive", f"{PLACE}:topic/sam3edge/{OWN}/{name}")


@pytest.mark.parametrize("settings", [SETTINGS, COMMANDING])
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iot:Connect", f"client/{OWN}"),
        ("iot:Connect", "client/anybody"),
        ("iot:Subscribe", "topicfilter/#"),
        ("iot:Subscribe", "topicfilter/sam3edge/#"),
        ("iot:Subscribe", "topicfilter/sam3edge/+/commands"),
        ("iot:Subscribe", "topicfilter/$aws/things/+/shadow/update"),
        ("iot:Receive", f"topic/sam3edge/{OWN}/commands"),
        ("iot:Receive", f"topic/sam3edge/{OWN}/ping"),
        ("iot:Receive", "topic/sam3edge/sam3edge-other-cam-7/detections"),
        ("iot:Receive", f"topic/$aws/things/{OWN}/jobs/notify-next"),
        ("iot:Publish", f"topic/sam3edge/{OWN}/detections"),
        ("iot:Publish", f"topic/sam3edge/{OWN}/status"),
        ("iot:Publish", f"topic/sam3edge/{OWN}/commands/response"),
        ("iot:Publish", "topic/sam3edge/sam3edge-other-cam-7/commands"),
        ("iot:Publish", "topic/$aws/rules/sam3edge_dev_detections"),
        ("iot:RetainPublish", f"topic/sam3edge/{OWN}/commands"),
        ("iot:GetRetainedMessage", f"topic/sam3edge/{OWN}/status"),
        ("iot:UpdateThingShadow", f"thing/{OWN}"),
        ("iot:AssumeRoleWithCertificate", "rolealias/sam3edge-dev-devices"),
    ],
)
def test_a_page_may_not(settings: AuthorizerSettings, action: str, resource: str) -> None:
    assert not granted(settings).allows(action, f"{PLACE}:{resource}")


def test_a_page_commands_devices_only_where_the_stage_says_so() -> None:
    commands = f"{PLACE}:topic/sam3edge/{OWN}/commands"
    assert not granted().allows("iot:Publish", commands)
    assert granted(COMMANDING).allows("iot:Publish", commands)
    assert granted(COMMANDING).actions() - granted().actions() == {"iot:Publish"}


def test_documents_fit_aws_iots_bounds_under_the_longest_names() -> None:
    longest = {**TOLD, "SAM3EDGE_PAGE_THINGS": f"sam3edge-{'x' * 12}-", "SAM3EDGE_PAGE_COMMANDS": "allowed"}
    documents = policies("arn:aws:iot:ap-northeast-1:111122223333", read_settings(AuthorizerSettings, longest))
    assert len(documents) <= 10
    assert max(len(json.dumps(one)) for one in documents) <= 2048


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    for document in (event(), event("wrong-secret"), event(token="0" * 24)):
        answer(document)
    said = capsys.readouterr()
    told = caplog.text + said.out + said.err
    assert "admitted" in told
    assert "refused" in told
    for secret in (SECRET, "wrong-secret", RECORD.sha256):
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode() not in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"SAM3EDGE_PAGE_SECRET": ""},
        {"SAM3EDGE_PAGE_THINGS": "*"},
        {"SAM3EDGE_PAGE_COMMANDS": "yes"},
        {"SAM3EDGE_PAGE_SESSION_SECONDS": "60"},
        {"SAM3EDGE_PAGE_SESSION_SECONDS": "100000"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        read_settings(AuthorizerSettings, {**TOLD, **wrong})


@pytest.fixture
def secrets_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield boto3.client("secretsmanager")


def test_records_are_kept_for_a_minute_and_then_read_again(secrets_manager: Any) -> None:
    secrets_manager.create_secret(Name="tokens")
    moment = 0.0
    store = SecretTokens(secrets_manager, "tokens", lambda: moment)
    assert store.find(RECORD.id) is None  # the secret has no value yet
    store.write({RECORD.id: RECORD})
    assert store.find(RECORD.id) is None
    moment = 60.0
    assert store.find(RECORD.id) == RECORD
    store.write({})
    assert store.find(RECORD.id) == RECORD
    moment = 120.0
    assert store.find(RECORD.id) is None


def test_more_records_than_a_secret_holds_are_refused_and_the_others_stay(secrets_manager: Any) -> None:
    secrets_manager.create_secret(Name="tokens")
    store = SecretTokens(secrets_manager, "tokens", lambda: 0.0)
    store.write({RECORD.id: RECORD})
    with pytest.raises(ValueError, match="revoke some tokens"):
        store.write({str(number): replace(RECORD, id=str(number)) for number in range(600)})
    assert store.read() == {RECORD.id: RECORD}


def test_the_handler_is_told_by_lambda_where_it_is(secrets_manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = secrets_manager.create_secret(Name="tokens")
    secret, record = new_token("ada", 4_102_444_800)
    SecretTokens(secrets_manager, "tokens", lambda: 0.0).write({record.id: record})
    for name, value in {**TOLD, "SAM3EDGE_PAGE_SECRET": made["ARN"]}.items():
        monkeypatch.setenv(name, value)
    authorizer._parts.cache_clear()
    context = SimpleNamespace(invoked_function_arn="arn:aws:lambda:eu-west-2:444455556666:function:sam3edge-dev-page")
    given = authorizer.handler(copy.deepcopy(event(secret, token=record.id)), context)
    authorizer._parts.cache_clear()
    assert given["policyDocuments"][0]["Statement"][0]["Resource"] == [
        "arn:aws:iot:eu-west-2:444455556666:client/sam3edge-page-*"
    ]


def test_without_its_records_it_fails_and_lets_nobody_in(secrets_manager: Any) -> None:
    def fails(**_: Any) -> None:
        raise ConnectionError("unreachable")

    client = SimpleNamespace(get_secret_value=fails, exceptions=secrets_manager.exceptions)
    with pytest.raises(ConnectionError):
        authorize(event(), SecretTokens(client, "tokens", lambda: 0.0), SETTINGS, PLACE, NOW)


def test_a_page_may_hear_what_it_asks_for_and_nothing_else() -> None:
    """AWS IoT Core ends a connection that asks for a topic that it was not granted."""
    (readers,) = re.findall(r"const READERS = \{(.*?)\};", PAGE.read_text(), re.DOTALL)
    topics = [one.partition(":")[0].strip().strip('"') for one in readers.split(",") if one.strip()]
    assert sorted(topics) == sorted(LISTENED)
