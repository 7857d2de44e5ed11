"""Devices that are expected, claims, and the end of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.devices import DETACH_TRIES, Devices, main
from sam3edge_infra.stacks.device_access import DEVICE_POLICIES
from sam3edge_infra.stages.files import read_stage
from sam3edge_pipeline.provisioning.hook import Hook

DEV = read_stage("dev")
NAMING = naming_of(DEV)
GROUPS = (DEV.fleet.canary_group, DEV.fleet.fleet_group)
POLICIES = ("claim", *DEVICE_POLICIES)
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
        for policy in POLICIES:
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
    for policy in DEVICE_POLICIES:
        iot.attach_policy(policyName=NAMING(policy), target=certificate)
    return certificate


def known_to_greengrass(devices: Devices, *things: str) -> Stubber:
    """Greengrass deletes these core devices and knows no others."""
    stubber = Stubber(devices.greengrass)
    for thing in things:
        stubber.add_response("delete_core_device", {}, {"coreDeviceThingName": thing})
    return stubber


def expected(serial: str) -> dict[str, Any] | None:
    found = boto3.client("dynamodb").get_item(TableName=NAMING("devices"), Key={"serial": {"S": serial}})
    item: dict[str, Any] | None = found.get("Item")
    return item


@contextmanager
def failing(iot: Any, operation: str, code: str, times: int = 1) -> Iterator[None]:
    """The first calls of an operation fail, and are not carried out."""
    left = [code] * times

    def fail(**_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if not left:
            return None
        return AWSResponse("", 400, {}, None), {"Error": {"Code": left.pop(), "Message": "not now"}}

    iot.meta.events.register(f"before-call.iot.{operation}", fail)
    try:
        yield
    finally:
        iot.meta.events.unregister(f"before-call.iot.{operation}", fail)


def test_an_expected_device_is_allowed_by_the_hook_into_its_group_for_a_day(devices: Devices) -> None:
    devices.expect(["cam-7"], "canary")
    devices.expect(["cam-8"], "fleet", hours=48)
    hook = Hook(boto3.resource("dynamodb").Table(NAMING("devices")), devices.iot, NAMING(""))
    now = datetime.now(timezone.utc)
    for serial, group, hours in (("cam-7", GROUPS[0], 24), ("cam-8", GROUPS[1], 48)):
        asked = {"certificateId": "c", "parameters": {"SerialNumber": serial}}
        assert not hook.decide(asked, now + timedelta(hours=hours, minutes=1))["allowProvisioning"]
        allowed = hook.decide(asked, now + timedelta(hours=hours, minutes=-1))
        assert allowed["parameterOverrides"] == {"ThingGroup": group}


def test_a_device_with_a_certificate_is_not_expected_again_before_it_is_revoked(devices: Devices) -> None:
    """Whoever has stolen that certificate would keep it."""
    provisioned(devices.iot, NAMING("cam-7"))
    with pytest.raises(SettingsError, match=r"without a certificate, got cam-7; .* revoke"):
        devices.expect(["cam-6", "cam-7"], "canary")
    assert expected("cam-6") is None
    with known_to_greengrass(devices, NAMING("cam-7")):
        devices.revoke(["cam-7"])
    devices.expect(["cam-6", "cam-7"], "canary")
    assert expected("cam-7") is not None


def test_nothing_is_left_of_a_revoked_device_and_others_stay(devices: Devices) -> None:
    stolen, other = (provisioned(devices.iot, NAMING(serial)) for serial in ("cam-7", "cam-8"))
    devices.dynamodb.put_item(TableName=NAMING("devices"), Item={"serial": {"S": "cam-7"}})
    with known_to_greengrass(devices, NAMING("cam-7")) as stubber:
        devices.revoke(["cam-7"])
        stubber.assert_no_pending_responses()
    assert [one["certificateArn"] for one in devices.iot.list_certificates()["certificates"]] == [other]
    assert [one["thingName"] for one in devices.iot.list_things()["things"]] == [NAMING("cam-8")]
    assert expected("cam-7") is None
    assert stolen not in devices.iot.list_targets_for_policy(policyName=NAMING("device"))["targets"]


def test_a_certificate_is_of_no_use_before_anything_that_can_fail(devices: Devices) -> None:
    certificate = provisioned(devices.iot, NAMING("cam-7"))
    with failing(devices.iot, "DetachThingPrincipal", "ServiceUnavailableException"), pytest.raises(ClientError):
        devices.revoke(["cam-7"])
    described = devices.iot.describe_certificate(certificateId=certificate.rpartition("/")[2])
    assert described["certificateDescription"]["status"] == "INACTIVE"
    assert expected("cam-7") is None


def test_a_device_that_is_only_expected_can_be_revoked_and_one_that_is_not_known_is_named(devices: Devices) -> None:
    devices.expect(["cam-6", "cam-7"], "canary")
    with pytest.raises(SettingsError, match="expected devices of the stage dev, got cam-9"):
        devices.revoke(["cam-6", "cam-9"])
    assert expected("cam-6") is not None
    stubber = Stubber(devices.greengrass)
    stubber.add_client_error("delete_core_device", "ResourceNotFoundException")
    with stubber:
        devices.revoke(["cam-7"])
    assert expected("cam-7") is None


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


def test_a_claim_that_could_not_be_made_leaves_nothing_in_the_way_of_the_next_try(
    devices: Devices, tmp_path: Path
) -> None:
    for operation in ("CreateKeysAndCertificate", "AttachPolicy"):
        with failing(devices.iot, operation, "ThrottlingException"), pytest.raises(ClientError):
            devices.claim(tmp_path)
    assert list(tmp_path.iterdir()) == []
    devices.claim(tmp_path)
    assert "PRIVATE KEY" in (tmp_path / "claim.pem.key").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("operation", "code"),
    [("DeleteThing", "InvalidRequestException"), ("DeleteCertificate", "DeleteConflictException")],
)
def test_a_detachment_that_takes_its_time_is_waited_for(devices: Devices, operation: str, code: str) -> None:
    provisioned(devices.iot, NAMING("cam-7"))
    waits: list[float] = []
    patient = replace(devices, sleep=waits.append)
    with failing(devices.iot, operation, code, times=3), known_to_greengrass(devices, NAMING("cam-7")):
        patient.revoke(["cam-7"])
    assert waits == [1, 2, 4]
    assert devices.iot.list_things()["things"] == []


def test_but_not_for_ever(devices: Devices) -> None:
    provisioned(devices.iot, NAMING("cam-7"))
    waits: list[float] = []
    patient = replace(devices, sleep=waits.append)
    with (
        failing(devices.iot, "DeleteCertificate", "DeleteConflictException", times=DETACH_TRIES),
        pytest.raises(ClientError, match="DeleteConflict"),
    ):
        patient.revoke(["cam-7"])
    assert 20 <= sum(waits) <= 60


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
    for thing in things:
        provisioned(iot, thing)
    other = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    iot.create_thing(thingName="somebody-elses")
    iot.attach_thing_principal(thingName="somebody-elses", principal=other)
    with stub_greengrass(devices, things) as stubber:
        devices.retire()
        stubber.assert_no_pending_responses()
    assert [one["thingName"] for one in iot.list_things()["things"]] == ["somebody-elses"]
    assert [one["certificateArn"] for one in iot.list_certificates()["certificates"]] == [other]
    for policy in POLICIES:
        iot.delete_policy(policyName=NAMING(policy))


def test_retiring_where_there_is_nothing_is_no_error(devices: Devices) -> None:
    for policy in POLICIES:
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
    # where it is found by the next try, whose certificate is gone
    assert [one["thingName"] for one in devices.iot.list_things()["things"]] == [NAMING("cam-7")]


def test_a_stage_that_keeps_its_data_keeps_its_devices(devices: Devices) -> None:
    provisioned(devices.iot, NAMING("cam-7"))
    kept = Devices(DEV.model_copy(update={"data": "keep"}), NAMING, devices.iot, devices.greengrass, devices.dynamodb)
    with pytest.raises(SettingsError, match="keeps its data"):
        kept.retire()
    assert len(devices.iot.list_things()["things"]) == 1


def test_a_thing_without_a_certificate_is_retired_too(devices: Devices) -> None:
    devices.iot.create_thing(thingName=NAMING("cam-7"))
    with stub_greengrass(devices, (NAMING("cam-7"),)) as stubber:
        devices.retire()
        stubber.assert_no_pending_responses()
    assert devices.iot.list_things()["things"] == []


def test_the_command_expects_devices_and_makes_claims(
    aws: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["expect", "--stage", "dev", "--group", "canary", "--hours", "1", "cam-7"]) == 0
    item = expected("cam-7")
    assert item is not None
    assert item["group"] == {"S": GROUPS[0]}
    assert 0 < int(item["expires"]["N"]) - datetime.now(timezone.utc).timestamp() <= 3600
    for hours in ("0", "inf", "nan"):
        assert main(["expect", "--stage", "dev", "--hours", hours, "cam-8"]) == 2
    assert main(["claim", "--stage", "dev", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "claim.pem.key").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["claim", "--stage", "dev", "--out", str(tmp_path)]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert main(["revoke", "--stage", "dev", "cam-9"]) == 2
    assert "got cam-9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [["expect", "--stage", "dev", "cam-7"], ["revoke", "--stage", "dev", "cam-7"], ["claim", "--stage", "dev"]],
)
def test_nothing_is_done_in_another_account_or_region(
    aws: None, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "999988887777")
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    assert "expected credentials of account 111122223333 for the stage dev, got those of" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_aws_refuses_is_said_without_a_stack_trace(
    aws: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("dynamodb").delete_table(TableName=NAMING("devices"))
    assert main(["expect", "--stage", "dev", "cam-7"]) == 2
    assert "ResourceNotFoundException" in capsys.readouterr().err
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    assert main(["expect", "--stage", "dev", "cam-7"]) == 2
    assert "credentials" in capsys.readouterr().err
