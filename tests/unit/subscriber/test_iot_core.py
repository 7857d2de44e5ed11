"""Endpoints of AWS IoT Core, and the signature of a connection over WebSockets."""

from __future__ import annotations

import hashlib
import hmac
import sys
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest
from awscrt.auth import AwsCredentialsProvider

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.subscriber.broker_url import BrokerUrl
from sam3edge.subscriber.iot_core import broker_url, signed_path

HOST = "a1b2c3-ats.iot.eu-central-1.amazonaws.com"
URL = BrokerUrl(HOST, 443, True, "/mqtt")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_the_name_of_an_endpoint_is_enough() -> None:
    assert broker_url(HOST) == BrokerUrl(HOST, 8883, True)
    assert broker_url("a-ats.iot.cn-north-1.amazonaws.com.cn").port == 8883
    assert broker_url("mqtt://localhost") == BrokerUrl("localhost", 1883, False)
    for other in ("localhost", "example.org", f"{HOST}.example.org"):
        with pytest.raises(SettingsError, match="name of an AWS IoT Core endpoint"):
            broker_url(other)


@pytest.mark.parametrize("token", ["", "to/ken+=="])
def test_the_signature_is_that_of_signature_version_4_with_the_token_added_after_it(token: str) -> None:
    """By the steps of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html."""
    provider = AwsCredentialsProvider.new_static("AKID", "secret", token or None)
    path = signed_path(URL, provider, lambda: AT)()
    query = parse_qsl(urlsplit(path).query)
    signed = [(name, value) for name, value in query if name not in ("X-Amz-Signature", "X-Amz-Security-Token")]
    assert dict(query).get("X-Amz-Security-Token", "") == token
    scope = "20260102/eu-central-1/iotdevicegateway/aws4_request"
    assert ("X-Amz-Credential", f"AKID/{scope}") in signed
    canonical = "&".join(f"{name}={value.replace('/', '%2F')}" for name, value in sorted(signed))
    empty = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/mqtt\n{canonical}\nhost:{HOST}\n\nhost\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n20260102T030405Z\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4secret"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert dict(query)["X-Amz-Signature"] == hmac.digest(key, to_sign.encode(), "sha256").hex()
    assert "secret" not in path


def test_each_connection_is_signed_anew() -> None:
    times = iter([AT, AT.replace(hour=4)])
    path = signed_path(URL, AwsCredentialsProvider.new_static("AKID", "secret"), lambda: next(times))
    assert path() != path()


@pytest.mark.parametrize("url", ["mqtts://" + HOST, "wss://example.org", "ws://" + HOST, f"wss://{HOST}/other"])
def test_only_websockets_to_an_endpoint_are_signed(url: str) -> None:
    with pytest.raises(SettingsError, match="expected wss://"):
        signed_path(BrokerUrl.parse(url))


def test_without_credentials_or_awscrt_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SubscriptionError, match="expected AWS credentials"):
        signed_path(URL, AwsCredentialsProvider.new_environment())()
    monkeypatch.setitem(sys.modules, "awscrt.auth", None)
    with pytest.raises(SettingsError, match="pip install"):
        signed_path(URL)
