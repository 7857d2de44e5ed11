"""The simulator's stack: an EC2 instance that nothing reaches, and that may do little."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stages.files import FOLDER, parse_stage
from sam3edge_infra.stages.stage import Stage
from support.iam_policies import Policy, role_policy

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
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Of a classic device without and one of lite with a GPU; cdk-nag has looked at them."""
    if shutil.which("node") is None:
        pytest.skip("the CDK needs Node.js")
    import aws_cdk as cdk
    from cdk_nag import AwsSolutionsChecks

    from sam3edge_infra.stacks.fleet import fleet_of
    from sam3edge_infra.stacks.network import NetworkStack
    from sam3edge_infra.stacks.simulator import SimulatorStack

    made = {}
    for document in (
        with_simulator("dev", instance_type="m7i.large", group="canary"),
        with_simulator("lite", instance_type="g5.xlarge", group="fleet"),
    ):
        stage: Stage = parse_stage(document, "test")
        out = tmp_path_factory.mktemp(stage.name)
        app, naming = cdk.App(outdir=str(out)), naming_of(stage)
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        network = NetworkStack(app, naming, stage.network).network
        assert stage.simulator is not None
        SimulatorStack(app, naming, network, fleet_of(naming, stage), stage.simulator, stage.nucleus)
        app.synth()
        made[stage.name] = json.loads((out / "simulator.template.json").read_text())
    return made


def only(template: dict[str, Any], kind: str) -> dict[str, Any]:
    [found] = [one["Properties"] for one in template["Resources"].values() if one["Type"] == kind]
    return dict(found)


def script(template: dict[str, Any]) -> str:
    return str(only(template, "AWS::EC2::Instance")["UserData"]["Fn::Base64"])


def told(template: dict[str, Any]) -> dict[str, str]:
    lines = [line for line in script(template).splitlines() if line.startswith("export ") and "=" in line]
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def test_nothing_comes_in_and_metadata_need_a_token(templates: dict[str, dict[str, Any]]) -> None:
    for template in templates.values():
        instance = only(template, "AWS::EC2::Instance")
        doors = only(template, "AWS::EC2::SecurityGroup")
        assert "SecurityGroupIngress" not in doors
        assert {one["FromPort"] for one in doors["SecurityGroupEgress"]} == {80, 443, 8443, 8883}
        assert not [one for one in template["Resources"].values() if one["Type"] == "AWS::EC2::SecurityGroupIngress"]
        assert "KeyName" not in instance
        assert instance["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        [interface] = instance["NetworkInterfaces"]
        assert interface["AssociatePublicIpAddress"] is False
        assert all(one["Ebs"]["Encrypted"] for one in instance["BlockDeviceMappings"])


def test_the_image_has_a_driver_where_there_is_a_gpu(templates: dict[str, dict[str, Any]]) -> None:
    def image(stage: str) -> str:
        parameters = templates[stage]["Parameters"]
        reference = only(templates[stage], "AWS::EC2::Instance")["ImageId"]["Ref"]
        return str(parameters[reference]["Default"])

    assert "canonical/ubuntu/server/24.04" in image("dev")
    assert "nvidia-driver-gpu-ubuntu-24.04" in image("lite")
    assert only(templates["lite"], "AWS::EC2::Instance")["InstanceType"] == "g5.xlarge"


def test_the_script_is_told_what_the_stage_says(templates: dict[str, dict[str, Any]]) -> None:
    dev, lite = told(templates["dev"]), told(templates["lite"])
    assert (dev["NUCLEUS"], dev["NUCLEUS_VERSION"]) == ("classic", "2.18.1")
    assert (lite["NUCLEUS"], lite["NUCLEUS_VERSION"]) == ("lite", "2.6.0")
    assert dev["NUCLEUS_SHA256"] == "0" * 64
    assert dev["PLUGIN_SHA256"] == "1" * 64
    assert lite["PLUGIN_URL"] == "''"
    assert dev["THING_GROUP"] == "sam3edge-dev-canary"
    assert lite["THING_GROUP"] == "sam3edge-lite-fleet"
    assert dev["TEMPLATE"] == dev["ROLE_ALIAS"] == dev["DEVICES_TABLE"] == "sam3edge-dev-devices"
    assert dev["SCENES"].startswith("s3://cdk-")
    assert "set -euo pipefail" in base64.b64decode(dev["FEED"]).decode()
    assert "${Token" not in script(templates["dev"])


@pytest.fixture(scope="module")
def host(templates: dict[str, dict[str, Any]]) -> Policy:
    """What the host of dev's simulator may do."""
    return role_policy(templates["dev"], "Role")


def test_the_host_may_do_what_its_script_asks_for(host: Policy, templates: dict[str, dict[str, Any]]) -> None:
    template = f"{IOT}:provisioningtemplate/sam3edge-dev-devices"
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/sam3edge-dev-devices"
    assert host.allows("iot:CreateProvisioningClaim", template)
    assert host.allows("iot:DescribeEndpoint", "*")
    assert host.allows("dynamodb:PutItem", table, {"dynamodb:LeadingKeys": ["simulator"]})
    assert host.allows("s3:GetObject", told(templates["dev"])["SCENES"].replace("s3://", "arn:aws:s3:::"))
    systems_manager = {one for one in host.actions() if one.startswith("ssm")}
    assert "ssm:UpdateInstanceInformation" in systems_manager
    asked = {"iot:CreateProvisioningClaim", "iot:DescribeEndpoint", "dynamodb:PutItem", "s3:GetObject"}
    assert host.actions() == asked | systems_manager
    commands = {"create-provisioning-claim", "describe-endpoint", "put-item", "s3 cp"}
    assert all(command in script(templates["dev"]) for command in commands)


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
        ("s3:GetObject", "arn:aws:s3:::sam3edge-dev-artifacts-111122223333-eu-central-1/x"),
        ("ssm:GetParameter", "*"),
        ("ssm:SendCommand", "*"),
        ("secretsmanager:GetSecretValue", "*"),
    ],
)
def test_the_host_may_not(host: Policy, action: str, resource: str) -> None:
    assert not host.allows(action, resource)


def test_the_host_can_expect_no_other_device(host: Policy) -> None:
    table = "arn:aws:dynamodb:eu-central-1:111122223333:table/sam3edge-dev-devices"
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


def test_the_scenes_are_there(templates: dict[str, dict[str, Any]]) -> None:
    from sam3edge_infra.stacks.simulator import SCENES

    assert list(Path(SCENES).glob("*.jpg"))
