"""The simulator's stack: an EC2 instance that nothing reaches, and that may do little."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from sam3edge.core.errors import SettingsError
from sam3edge_infra.stacks.simulator import SCENES
from sam3edge_infra.stages.files import FOLDER, parse_stage
from sam3edge_infra.stages.values import UNKNOWN_SHA256
from support.iam import Policy, role_policy
from support.infra_templates import LITE_SHA256, VARIANTS, Templates

IOT = "arn:aws:iot:eu-central-1:111122223333"


def with_simulator(name: str, **simulator: str) -> dict[str, Any]:
    """The document of an example stage with a simulator; the digests are made up."""
    document = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    document["simulator"] = simulator
    document["nucleus"]["sha256"] = "0" * 64
    if document["nucleus"]["kind"] == "classic":
        document["nucleus"]["plugin_sha256"] = "1" * 64
    if document["network"]["kind"] == "new":
        document["network"]["egress"] = "nat"
    return dict(document)


@pytest.fixture(scope="module")
def devices(templates: Templates) -> dict[str, dict[str, Any]]:
    """The stacks of a classic device without a GPU, and of one of lite with."""
    return {"classic": templates.stages["sim"]["simulator"], "lite": templates.stages[VARIANTS]["simulator"]}


def only(template: dict[str, Any], kind: str) -> dict[str, Any]:
    [found] = [one["Properties"] for one in template["Resources"].values() if one["Type"] == kind]
    return dict(found)


def script(template: dict[str, Any]) -> str:
    return str(only(template, "AWS::EC2::Instance")["UserData"]["Fn::Base64"])


def told(template: dict[str, Any]) -> dict[str, str]:
    lines = [line for line in script(template).splitlines() if line.startswith("export ") and "=" in line]
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def test_nothing_comes_in_and_metadata_need_a_token(devices: dict[str, dict[str, Any]]) -> None:
    for template in devices.values():
        instance = only(template, "AWS::EC2::Instance")
        group = only(template, "AWS::EC2::SecurityGroup")
        assert "SecurityGroupIngress" not in group
        assert {one["FromPort"] for one in group["SecurityGroupEgress"]} == {80, 443, 8443, 8883}
        assert not [one for one in template["Resources"].values() if one["Type"] == "AWS::EC2::SecurityGroupIngress"]
        assert "KeyName" not in instance
        assert instance["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        [interface] = instance["NetworkInterfaces"]
        assert interface["AssociatePublicIpAddress"] is False
        assert all(one["Ebs"]["Encrypted"] for one in instance["BlockDeviceMappings"])


def test_the_image_has_a_driver_where_there_is_a_gpu(devices: dict[str, dict[str, Any]]) -> None:
    def image(kind: str) -> str:
        parameters = devices[kind]["Parameters"]
        reference = only(devices[kind], "AWS::EC2::Instance")["ImageId"]["Ref"]
        return str(parameters[reference]["Default"])

    assert "canonical/ubuntu/server/24.04" in image("classic")
    assert "nvidia-driver-gpu-ubuntu-24.04" in image("lite")
    assert only(devices["lite"], "AWS::EC2::Instance")["InstanceType"] == "g5.xlarge"


def test_the_script_is_told_what_the_stage_says(devices: dict[str, dict[str, Any]]) -> None:
    classic, lite = told(devices["classic"]), told(devices["lite"])
    assert (classic["NUCLEUS"], classic["NUCLEUS_VERSION"]) == ("classic", "2.18.1")
    assert (lite["NUCLEUS"], lite["NUCLEUS_VERSION"]) == ("lite", "2.6.0")
    assert classic["NUCLEUS_SHA256"] == classic["PLUGIN_SHA256"] == UNKNOWN_SHA256
    assert lite["NUCLEUS_SHA256"] == LITE_SHA256
    assert lite["PLUGIN_URL"] == "''"
    assert classic["THING_GROUP"] == "sam3edge-sim-canary"
    assert lite["THING_GROUP"] == "sam3edge-prod-fleet"
    assert classic["TEMPLATE"] == classic["ROLE_ALIAS"] == classic["DEVICES_TABLE"] == "sam3edge-sim-devices"
    assert classic["SCENES"].startswith("s3://cdk-")
    assert "set -euo pipefail" in base64.b64decode(classic["FEED"]).decode()
    assert "${Token" not in script(devices["classic"])


@pytest.mark.parametrize(("stage", "warned"), [("sim", True), (VARIANTS, False)])
def test_whoever_deploys_placeholders_is_told(templates: Templates, stage: str, warned: bool) -> None:
    """The CDK's command line shows warnings; the instance itself refuses what it downloads (test_user_data.py)."""
    told = (templates.root / stage / "simulator.metadata.json").read_text()
    assert ("got placeholders: it will install nothing" in told) == warned


@pytest.fixture(scope="module")
def host(devices: dict[str, dict[str, Any]]) -> Policy:
    """What the host of the stage sim's simulator may do."""
    return role_policy(devices["classic"], "Role")


def test_the_host_may_do_what_its_script_asks_for(host: Policy, devices: dict[str, dict[str, Any]]) -> None:
    template = f"{IOT}:provisioningtemplate/sam3edge-sim-devices"
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/sam3edge-sim-devices"
    assert host.allows("iot:CreateProvisioningClaim", template)
    assert host.allows("iot:DescribeEndpoint", "*")
    assert host.allows("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": ["simulator"]})
    assert host.allows("s3:GetObject", told(devices["classic"])["SCENES"].replace("s3://", "arn:aws:s3:::"))
    systems_manager = {one for one in host.actions() if one.startswith("ssm")}
    assert "ssm:UpdateInstanceInformation" in systems_manager
    asked = {"iot:CreateProvisioningClaim", "iot:DescribeEndpoint", "dynamodb:PutItem", "s3:GetObject"}
    assert host.actions() == asked | systems_manager
    commands = {"create-provisioning-claim", "describe-endpoint", "put-item", "s3 cp"}
    assert all(command in script(devices["classic"]) for command in commands)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iot:CreateProvisioningClaim", f"{IOT}:provisioningtemplate/another"),
        ("iot:AttachPolicy", f"{IOT}:cert/x"),
        ("iot:CreateKeysAndCertificate", "*"),
        ("iot:CreateThing", f"{IOT}:thing/x"),
        ("iot:Publish", f"{IOT}:topic/sam3edge/x/commands"),
        ("greengrass:CreateDeployment", "*"),
        ("iam:PassRole", "*"),
        ("s3:GetObject", "arn:aws:s3:::sam3edge-sim-artifacts-111122223333-eu-central-1/x"),
        ("ssm:GetParameter", "*"),
        ("ssm:SendCommand", "*"),
        ("secretsmanager:GetSecretValue", "*"),
    ],
)
def test_the_host_may_not(host: Policy, action: str, resource: str) -> None:
    assert not host.allows(action, resource)


def test_the_host_can_expect_no_other_device(host: Policy) -> None:
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/sam3edge-sim-devices"
    assert not host.allows("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": ["cam-7"]})
    assert not host.allows("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": ["simulator", "cam-7"]})
    assert not host.allows("dynamodb:DeleteItem", table, {"dynamodb:LeadingKeys": ["simulator"]})


@pytest.mark.parametrize("missing", ["sha256", "plugin_sha256"])
def test_a_stage_with_a_simulator_and_without_a_digest_is_refused(missing: str) -> None:
    document = with_simulator("dev")
    del document["nucleus"][missing]
    with pytest.raises(SettingsError, match=rf"expected nucleus\.{missing} with a simulator"):
        parse_stage(document, "dev")


def test_lite_needs_no_digest_of_a_plugin() -> None:
    assert parse_stage(with_simulator("lite"), "lite").simulator is not None


def test_the_scenes_are_there() -> None:
    assert list(Path(SCENES).glob("*.jpg"))
