"""Which devices that present a claim become things."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge_pipeline.provisioning import hook
from sam3edge_pipeline.provisioning.hook import ATTEMPT, REFUSED, Hook

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
LATER = NOW + timedelta(minutes=5)
EXPIRES = int(NOW.timestamp()) + 3600
THING = "yard-cam-7"


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A hook whose table expects one device."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        table = boto3.resource("dynamodb").create_table(
            TableName="devices",
            KeySchema=[{"AttributeName": "serial", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "serial", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        expect(table)
        yield Hook(table, boto3.client("iot"), "yard-")


def expect(table: Any, **more: object) -> None:
    table.put_item(Item={"serial": "cam-7", "group": "canaries", "expires": EXPIRES, **more})


def request(serial: object = "cam-7", **more: object) -> dict[str, Any]:
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


def fresh(iot: Any) -> str:
    """Id of a certificate that a device has just got, and that belongs to nothing yet."""
    return str(iot.create_keys_and_certificate(setAsActive=False)["certificateId"])


def register(iot: Any, certificate: str) -> None:
    """What AWS IoT Core does when the hook has allowed a device."""
    iot.create_thing(thingName=THING)
    arn = iot.describe_certificate(certificateId=certificate)["certificateDescription"]["certificateArn"]
    iot.attach_thing_principal(thingName=THING, principal=arn)


def test_an_expected_device_is_allowed_into_the_group_that_the_table_says(hooked: Hook) -> None:
    asked = request()
    asked["parameters"]["ThingGroup"] = "administrators"
    assert hooked.decide(asked, NOW) == {
        "allowProvisioning": True,
        "parameterOverrides": {"ThingGroup": "canaries"},
    }
    item = hooked.table.get_item(Key={"serial": "cam-7"})["Item"]
    assert item["certificate"] == "certificate-1"
    assert item["provisioned_at"] == NOW.isoformat()


def test_a_device_whose_certificate_is_its_things_is_not_provisioned_again_until_it_is_expected_again(
    hooked: Hook,
) -> None:
    first, second = fresh(hooked.iot), fresh(hooked.iot)
    assert hooked.decide(request(certificateId=first), NOW)["allowProvisioning"]
    register(hooked.iot, first)
    assert hooked.decide(request(certificateId=second), LATER) == REFUSED
    assert hooked.table.get_item(Key={"serial": "cam-7"})["Item"]["certificate"] == first
    expect(hooked.table)
    assert hooked.decide(request(certificateId=second), LATER)["allowProvisioning"]


def test_an_answer_that_got_lost_is_given_again(hooked: Hook) -> None:
    certificate = fresh(hooked.iot)
    assert hooked.decide(request(certificateId=certificate), NOW)["allowProvisioning"]
    assert hooked.decide(request(certificateId=certificate), NOW)["allowProvisioning"]
    register(hooked.iot, certificate)
    assert hooked.decide(request(certificateId=certificate), LATER)["allowProvisioning"]


@pytest.mark.parametrize("thing", ["none", "another"])
def test_a_device_whose_provisioning_failed_comes_again_with_another_certificate(hooked: Hook, thing: str) -> None:
    """Both nuclei take another one with every attempt. The thing of a device that was there before has its old one."""
    if thing == "another":
        register(hooked.iot, fresh(hooked.iot))
    first, second = fresh(hooked.iot), fresh(hooked.iot)
    hooked.decide(request(certificateId=first), NOW)
    assert hooked.decide(request(certificateId=second), NOW + ATTEMPT)["allowProvisioning"]
    assert hooked.table.get_item(Key={"serial": "cam-7"})["Item"]["certificate"] == second


def test_meanwhile_another_certificate_is_refused(hooked: Hook) -> None:
    """Or a copied claim would get one beside the device's, and nobody would notice."""
    hooked.decide(request(certificateId=fresh(hooked.iot)), NOW)
    assert hooked.decide(request(certificateId=fresh(hooked.iot)), NOW + ATTEMPT / 2) == REFUSED


def test_of_two_at_the_same_time_one_is_allowed(hooked: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    read = hooked.table.get_item

    def overtaken(**asked: Any) -> Any:
        found = read(**asked)
        monkeypatch.setattr(hooked.table, "get_item", read)
        assert hooked.decide(request(certificateId="faster"), NOW)["allowProvisioning"]
        return found

    monkeypatch.setattr(hooked.table, "get_item", overtaken)
    assert hooked.decide(request(certificateId="slower"), NOW) == REFUSED


@pytest.mark.parametrize("expires", [{"expires": int(NOW.timestamp())}, {}], ids=["over", "never said"])
def test_an_expectation_expires(hooked: Hook, expires: dict[str, int]) -> None:
    """DynamoDB deletes the item only days later."""
    hooked.table.put_item(Item={"serial": "cam-7", "group": "canaries", **expires})
    assert hooked.decide(request(), NOW) == REFUSED
    assert hooked.decide(request(), NOW - timedelta(seconds=1))["allowProvisioning"] == bool(expires)


@pytest.mark.parametrize("serial", ["cam-8", "", "cam/7", "cam-7\n", "+", "x" * 65])
def test_others_are_refused_and_leave_nothing(hooked: Hook, serial: str) -> None:
    assert hooked.decide(request(serial), NOW) == REFUSED
    assert hooked.table.scan()["Count"] == 1


def test_a_request_without_parameters_is_refused(hooked: Hook) -> None:
    assert hooked.decide({"certificateId": "certificate-1"}, NOW) == REFUSED


def test_the_function_reads_the_table_that_its_environment_names(hooked: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    hooked.table.put_item(Item={"serial": "cam-7", "group": "canaries", "expires": 9_999_999_999})
    monkeypatch.setenv("SAM3EDGE_DEVICES_TABLE", "devices")
    monkeypatch.setenv("SAM3EDGE_DEVICES_THINGS", "yard-")
    hook._hook.cache_clear()
    assert hook.allow({}, None) == REFUSED  # the daily call
    assert hook.allow(request(), None)["allowProvisioning"]
    hook._hook.cache_clear()


def test_the_function_needs_nothing_but_boto3_beside_it() -> None:
    """Its zip is this folder alone."""
    listed = "import hook, sys; print(*{one.partition('.')[0] for one in sys.modules})"
    imported = subprocess.run(
        [sys.executable, "-c", listed], cwd=Path(hook.__file__).parent, capture_output=True, text=True, check=True
    )
    assert "boto3" in imported.stdout.split()
    assert not {"sam3edge", "sam3edge_pipeline", "pydantic", "numpy"} & set(imported.stdout.split())
