"""Which devices that present a claim become things."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge_pipeline.provisioning import hook
from sam3edge_pipeline.provisioning.hook import REFUSED, decide

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        made = boto3.resource("dynamodb").create_table(
            TableName="devices",
            KeySchema=[{"AttributeName": "serial", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "serial", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        made.put_item(Item={"serial": "cam-7", "group": "canaries"})
        yield made


def request(serial: object, **more: object) -> dict[str, Any]:
    """As AWS IoT Core sends it."""
    return {
        "claimCertificateId": "claim",
        "certificateId": "certificate-1",
        "certificatePem": "-----BEGIN CERTIFICATE-----",
        "templateArn": "arn:aws:iot:eu-central-1:111122223333:provisioningtemplate/sam3edge-dev",
        "clientId": "221a6d10-9c7f-42f1-9153-e52e6fc869c1",
        "parameters": {"SerialNumber": serial},
        **more,
    }


def test_an_expected_device_is_allowed_into_the_group_that_the_table_says(table: Any) -> None:
    asked = request("cam-7")
    asked["parameters"]["ThingGroup"] = "administrators"
    assert decide(table, asked, NOW) == {
        "allowProvisioning": True,
        "parameterOverrides": {"ThingGroup": "canaries"},
    }
    item = table.get_item(Key={"serial": "cam-7"})["Item"]
    assert item["certificate"] == "certificate-1"
    assert item["provisioned_at"] == NOW.isoformat()


def test_it_is_provisioned_once_until_somebody_expects_it_again(table: Any) -> None:
    decide(table, request("cam-7"), NOW)
    assert decide(table, request("cam-7", certificateId="certificate-2"), NOW) == REFUSED
    assert table.get_item(Key={"serial": "cam-7"})["Item"]["certificate"] == "certificate-1"
    table.put_item(Item={"serial": "cam-7", "group": "canaries"})
    assert decide(table, request("cam-7", certificateId="certificate-2"), NOW)["allowProvisioning"]


@pytest.mark.parametrize("serial", ["cam-8", "", "cam/7", "cam-7\n", "+", "x" * 65])
def test_others_are_refused_and_leave_nothing(table: Any, serial: str) -> None:
    assert decide(table, request(serial), NOW) == REFUSED
    assert table.scan()["Count"] == 1


def test_a_request_without_parameters_is_refused(table: Any) -> None:
    assert decide(table, {"certificateId": "certificate-1"}, NOW) == REFUSED


def test_the_function_reads_the_table_that_its_environment_names(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3EDGE_DEVICES_TABLE", "devices")
    hook._table.cache_clear()
    assert hook.allow(request("cam-7"), None)["allowProvisioning"]
    hook._table.cache_clear()
