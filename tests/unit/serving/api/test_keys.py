"""API keys: made, kept as hashes, checked by the authorizer, counted by API Gateway under their id."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from sam3edge_serving.api import authorizer
from sam3edge_serving.api.key_admin import issue, main
from sam3edge_serving.api.keys import DynamoKeys, KeyRefused, MemoryKeys, check, digest, new_key, presented
from support.api_rig import Aws

ARN = "arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/GET/v1/models"


def event(headers: dict[str, str] | None) -> dict[str, Any]:
    """What API Gateway sends an authorizer of type REQUEST."""
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "resource": "/{proxy+}",
        "path": "/v1/models",
        "httpMethod": "GET",
        "headers": headers,
        "requestContext": {"requestId": "r-1", "stage": "prod", "apiId": "abc123"},
    }


def test_a_key_is_kept_as_its_hash_and_found_by_its_id() -> None:
    key, record = new_key("ada")
    assert record.id in key
    assert len(record.id) >= 20  # what API Gateway demands of the value of a key
    assert key not in repr(record)
    assert record.sha256 == digest(key)
    assert record.sha256 not in repr(record)
    assert check(MemoryKeys(record), key) == record


def test_keys_differ() -> None:
    keys = {new_key("ada")[0] for _ in range(100)}
    assert len(keys) == 100


@pytest.mark.parametrize("key", ["x", "s3e-", "s3e-" + "0" * 24 + "-" + "a" * 43, "sk-proj-abc", "\ud800", "é" * 5000])
def test_a_key_that_nobody_made(key: str) -> None:
    store = MemoryKeys(new_key("ada")[1])
    with pytest.raises(KeyRefused, match="not known") as refused:
        check(store, key)
    assert key not in str(refused.value) or key == "x"


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer K"}, "K"),
        ({"authorization": "bearer   K  "}, "K"),
        ({"x-api-key": " K "}, "K"),
        ({"authorization": "Bearer K", "x-api-key": "L"}, "K"),
        ({"authorization": "Basic K", "x-api-key": "L"}, "L"),
        ({"authorization": "Basic K"}, ""),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": ""}, ""),
        ({}, ""),
    ],
)
def test_where_the_key_stands(headers: dict[str, str], key: str) -> None:
    assert presented(headers) == key


def test_the_authorizer_lets_a_key_in_and_names_it_for_the_usage_plan() -> None:
    key, record = new_key("ada")
    policy = authorizer.authorize(event({"Authorization": f"Bearer {key}"}), MemoryKeys(record))
    assert policy["principalId"] == policy["usageIdentifierKey"] == record.id
    assert policy["context"] == {"keyId": record.id}
    (statement,) = policy["policyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Resource"] == ["arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/*/*"]
    assert key not in str(policy)


def test_the_authorizer_denies_a_wrong_key_with_the_reason() -> None:
    policy = authorizer.authorize(event({"x-api-key": "wrong"}), MemoryKeys())
    (statement,) = policy["policyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert policy["context"]["code"] == "invalid_api_key"
    assert '"' not in policy["context"]["message"]  # it stands in a JSON template as it is
    assert "usageIdentifierKey" not in policy


@pytest.mark.parametrize("headers", [None, {}, {"Accept": "*/*"}])
def test_without_a_key_api_gateway_is_told_its_word(headers: dict[str, str] | None) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        authorizer.authorize(event(headers), MemoryKeys())


def test_from_making_a_key_to_revoking_it(
    aws: Aws, table: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = boto3.client("apigateway")
    monkeypatch.setattr("sam3edge_serving.api.key_admin.boto3.client", lambda _: gateway)
    with Stubber(gateway) as stub:
        made = {"name": ANY, "value": ANY, "enabled": True, "description": "ada"}
        stub.add_response("create_api_key", {"id": "gw-1"}, made)
        entered = {"usagePlanId": "plan-1", "keyId": "gw-1", "keyType": "API_KEY"}
        stub.add_response("create_usage_plan_key", {}, entered)
        assert main(["--table", table, "issue", "--usage-plan", "plan-1", "--owner", "ada"]) == 0
        stub.assert_no_pending_responses()
    key = capsys.readouterr().out.strip()
    key_id = key.split("-")[1]
    (item,) = aws.dynamodb.Table(table).scan()["Items"]
    assert item == {"id": key_id, "sha256": digest(key), "owner": "ada", "revoked": False}

    monkeypatch.setenv("SAM3EDGE_API_KEY_TABLE", table)
    authorizer._store.cache_clear()
    sent = event({"authorization": f"Bearer {key}"})
    assert authorizer.handler(sent, None)["usageIdentifierKey"] == key_id
    assert main(["--table", table, "revoke", key_id]) == 0
    assert authorizer.handler(sent, None)["context"]["code"] == "revoked_api_key"
    authorizer._store.cache_clear()


def test_no_key_is_overwritten_and_none_revoked_that_is_not_there(aws: Aws, table: str) -> None:
    keys = DynamoKeys(aws.dynamodb.Table(table))
    _, record = new_key("ada")
    keys.add(record)
    for wrong in (lambda: keys.add(record), lambda: keys.revoke("nobody")):
        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            wrong()


def test_api_gateway_knows_the_keys_id_only(aws: Aws, table: str) -> None:
    """And what the usage plan refuses is not kept."""
    asked: list[dict[str, Any]] = []

    class Gateway:
        refuses = False

        def create_api_key(self, **parameters: Any) -> dict[str, str]:
            asked.append(parameters)
            return {"id": "gw-1"}

        def create_usage_plan_key(self, **parameters: Any) -> None:
            if self.refuses:
                raise ClientError({"Error": {"Code": "NotFoundException"}}, "CreateUsagePlanKey")

    keys, gateway = DynamoKeys(aws.dynamodb.Table(table)), Gateway()
    key = issue(keys, gateway, "plan-1", "ada")
    assert asked[0]["value"] == check(keys, key).id
    assert key not in str(asked)
    gateway.refuses = True
    with pytest.raises(ClientError):
        issue(keys, gateway, "no-such-plan", "bob")
    assert len(aws.dynamodb.Table(table).scan()["Items"]) == 1
