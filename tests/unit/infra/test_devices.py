"""Devices that are expected, claims, and the end of both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.devices import Devices, main
from sam3edge_infra.stages.files import read_stage
from sam3edge_pipeline.provisioning.hook import decide

DEV = read_stage("dev")
NAMING = naming_of(DEV)
GROUPS = (DEV.fleet.canary_group, DEV.fleet.fleet_group)
COMPONENTS = "arn:aws:greengrass:eu-central-1:111122223333:components"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("MOTO_ACCOUNT_ID", DEV.account)
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName=NAMING("devices"),
            KeySchema=[{"AttributeName": "serial", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "serial", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        iot = boto3.client("iot")
        for policy in ("device", "claim"):
            iot.create_policy(policyName=NAMING(policy), policyDocument="{}")
        yield


@pytest.fixture
def devices(aws: None) -> Devices:
    clients = [boto3.client(name) for name in ("iot", "greengrassv2", "dynamodb")]
    return Devices(DEV, NAMING, *clients)


def provisioned(iot: Any, thing: str) -> str:
    """A thing with a certificate, as the provisioning template makes them; the certificate's ARN."""
    certificate: str = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.create_thing(thingName=thing)
    iot.attach_thing_principal(thingName=thing, principal=certificate)
    iot.attach_policy(policyName=NAMING("device"), target=certificate)
    return certificate


def test_an_expected_device_is_allowed_by_the_hook_into_its_group(devices: Devices) -> None:
    devices.expect(["cam-7"], "canary")
    devices.expect(["cam-8"], "fleet")
    table = boto3.resource("dynamodb").Table(NAMING("devices"))
    for serial, group in (("cam-7", GROUPS[0]), ("cam-8", GROUPS[1])):
        asked = {"certificateId": "c", "parameters": {"SerialNumber": serial}}
        allowed = decide(table, asked, datetime.now(timezone.utc))
        assert allowed["parameterOverrides"] == {"ThingGroup": group}
        assert not decide(table, asked, datetime.now(timezone.utc))["allowProvisioning"]
    devices.expect(["cam-7"], "fleet")
    again = decide(table, {"certificateId": "d", "parameters": {"SerialNumber": "cam-7"}}, datetime.now(timezone.utc))
    assert again["parameterOverrides"] == {"ThingGroup": GROUPS[1]}


def test_a_serial_number_that_cannot_be_a_name_is_refused_with_all_others(devices: Devices) -> None:
    with pytest.raises(SettingsError, match=r"expected serial numbers .* got \['a/b'\]"):
        devices.expect(["cam-7", "a/b"], "canary")
    assert boto3.client("dynamodb").scan(TableName=NAMING("devices"))["Count"] == 0


def test_a_claim_is_active_has_the_policy_of_claims_and_is_never_overwritten(devices: Devices, tmp_path: Path) -> None:
    identifier = devices.claim(tmp_path / "claim")
    described = devices.iot.describe_certificate(certificateId=identifier)["certificateDescription"]
    assert described["status"] == "ACTIVE"
    attached = devices.iot.list_attached_policies(target=described["certificateArn"])["policies"]
    assert [one["policyName"] for one in attached] == [NAMING("claim")]
    assert (tmp_path / "claim/claim.pem.crt").read_text(encoding="utf-8") == described["certificatePem"]
    assert (tmp_path / "claim/claim.pem.key").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        devices.claim(tmp_path / "claim")
    assert len(devices.iot.list_certificates()["certificates"]) == 1


def test_a_claim_that_could_not_be_made_leaves_no_files_and_can_be_made_again(devices: Devices, tmp_path: Path) -> None:
    with Stubber(devices.iot) as stubber:
        stubber.add_client_error("create_keys_and_certificate", "ThrottlingException")
        with pytest.raises(ClientError, match="Throttling"):
            devices.claim(tmp_path)
    assert not list(tmp_path.iterdir())
    assert devices.claim(tmp_path)


def test_a_claim_whose_policy_could_not_be_attached_is_not_lost(devices: Devices, tmp_path: Path) -> None:
    devices.iot.delete_policy(policyName=NAMING("claim"))
    with pytest.raises(ClientError):
        devices.claim(tmp_path)
    [certificate] = devices.iot.list_certificates()["certificates"]
    described = devices.iot.describe_certificate(certificateId=certificate["certificateId"])["certificateDescription"]
    assert (tmp_path / "claim.pem.crt").read_text(encoding="utf-8") == described["certificatePem"]
    assert (tmp_path / "claim.pem.key").read_text(encoding="utf-8")


def stub_greengrass(devices: Devices, things: tuple[str, ...]) -> Stubber:
    """Greengrass with a core device for the first thing, two deployments and two versions of one component."""
    stubber = Stubber(devices.greengrass)
    stubber.add_response("delete_core_device", {}, {"coreDeviceThingName": things[0]})
    for thing in things[1:]:
        stubber.add_client_error(
            "delete_core_device", "ResourceNotFoundException", expected_params={"coreDeviceThingName": thing}
        )
    made = [
        {"deploymentId": "d-2", "deploymentStatus": "ACTIVE", "isLatestForTarget": True},
        {"deploymentId": "d-1", "deploymentStatus": "INACTIVE", "isLatestForTarget": False},
    ]
    for group, deployments in zip(GROUPS, (made, []), strict=True):
        target = f"arn:aws:iot:eu-central-1:111122223333:thinggroup/{group}"
        expected = {"targetArn": target, "historyFilter": "ALL"}
        stubber.add_response("list_deployments", {"deployments": deployments}, expected)
        for one in deployments:
            if one["deploymentStatus"] == "ACTIVE":
                stubber.add_response("cancel_deployment", {}, {"deploymentId": one["deploymentId"]})
            stubber.add_response("delete_deployment", {}, {"deploymentId": one["deploymentId"]})
    arns = [f"{COMPONENTS}:com.sam3edge.Model:versions:{version}" for version in ("1.3.1", "1.3.0")]
    stubber.add_response(
        "list_component_versions",
        {"componentVersions": [{"arn": arn} for arn in arns]},
        {"arn": f"{COMPONENTS}:com.sam3edge.Model"},
    )
    for arn in arns:
        stubber.add_response("delete_component", {}, {"arn": arn})
    for name in ("Segmenter", "Uploader"):
        stubber.add_client_error(
            "list_component_versions",
            "ResourceNotFoundException",
            expected_params={"arn": f"{COMPONENTS}:com.sam3edge.{name}"},
        )
    return stubber


def test_nothing_is_left_of_retired_devices_and_others_stay(devices: Devices, tmp_path: Path) -> None:
    iot = devices.iot
    devices.claim(tmp_path / "claim")
    things = (NAMING("cam-7"), NAMING("cam-8"))
    order = [provisioned(iot, thing) for thing in things]
    other = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.create_thing(thingName="somebody-elses")
    iot.attach_thing_principal(thingName="somebody-elses", principal=other)
    listed = iot.list_targets_for_policy(policyName=NAMING("device"))["targets"]
    with stub_greengrass(devices, tuple(things[order.index(one)] for one in listed)) as stubber:
        devices.retire()
        stubber.assert_no_pending_responses()
    assert [one["thingName"] for one in iot.list_things()["things"]] == ["somebody-elses"]
    assert [one["certificateArn"] for one in iot.list_certificates()["certificates"]] == [other]
    for policy in ("device", "claim"):
        iot.delete_policy(policyName=NAMING(policy))


def test_retiring_where_there_is_nothing_is_no_error(devices: Devices) -> None:
    for policy in ("device", "claim"):
        devices.iot.delete_policy(policyName=NAMING(policy))
    stubber = Stubber(devices.greengrass)
    for _ in GROUPS:
        stubber.add_response("list_deployments", {"deployments": []})
    for _ in range(3):
        stubber.add_client_error("list_component_versions", "ResourceNotFoundException")
    with stubber:
        devices.retire()
        stubber.assert_no_pending_responses()


def test_another_error_of_greengrass_is_not_swallowed(devices: Devices) -> None:
    provisioned(devices.iot, NAMING("cam-7"))
    stubber = Stubber(devices.greengrass)
    stubber.add_client_error("delete_core_device", "AccessDeniedException")
    with stubber, pytest.raises(ClientError, match="AccessDenied"):
        devices.retire()
    assert [one["thingName"] for one in devices.iot.list_things()["things"]] == [NAMING("cam-7")]


def test_a_stage_that_keeps_its_data_keeps_its_devices(devices: Devices) -> None:
    provisioned(devices.iot, NAMING("cam-7"))
    kept = Devices(DEV.model_copy(update={"data": "keep"}), NAMING, devices.iot, devices.greengrass, devices.dynamodb)
    with pytest.raises(SettingsError, match="keeps its data"):
        kept.retire()
    assert len(devices.iot.list_things()["things"]) == 1


def test_the_command_expects_devices_and_makes_claims(
    aws: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["expect", "--stage", "dev", "--group", "canary", "cam-7"]) == 0
    item = boto3.client("dynamodb").get_item(TableName=NAMING("devices"), Key={"serial": {"S": "cam-7"}})["Item"]
    assert item["group"] == {"S": GROUPS[0]}
    assert main(["claim", "--stage", "dev", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "claim.pem.key").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["claim", "--stage", "dev", "--out", str(tmp_path)]) == 2
    assert "expected no claim in" in capsys.readouterr().err
