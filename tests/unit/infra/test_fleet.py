"""The fleet's stack: groups, provisioning, component versions, first deployments, and where detections go."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.validate import ParamValidator
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge.segmenter.settings import read_settings as read_segmenter_settings
from sam3edge.uploader.settings import read_settings as read_uploader_settings
from sam3edge_infra.components import components_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.fleet import fleet_of, provisioning_template
from sam3edge_infra.stages.files import FOLDER, ROOT, parse_stage, read_stage
from sam3edge_infra.stages.stage import Stage
from sam3edge_pipeline.greengrass_build.build import build_component
from sam3edge_pipeline.provisioning.hook import ATTEMPT, GROUP_PARAMETER, SERIAL_PARAMETER, Hook
from sam3edge_pipeline.rollout.versions import CONTENT_TAG
from support.iam import policy_of, role_policy
from support.infra_templates import STAGES, Templates

FLEET = "fleet"


@pytest.mark.parametrize("stage", STAGES)
def test_a_version_is_made_of_each_component_with_its_content_for_the_roll_out(
    templates: Templates, stage: str
) -> None:
    options = read_stage(stage)
    bucket = naming_of(options).bucket("artifacts").name
    made = templates.resources(stage, FLEET, "AWS::GreengrassV2::ComponentVersion").values()
    wanted = {(one.recipe(bucket), one.content) for one in components_of(options)}
    assert {(one["InlineRecipe"], one["Tags"][CONTENT_TAG]) for one in made} == wanted


def test_recipes_are_those_that_the_build_makes(templates: Templates, tmp_path: Path) -> None:
    bucket = naming_of(read_stage("dev")).bucket("artifacts").name
    components = components_of(read_stage("dev"))
    built = [build_component(one.kind, tmp_path, one.version, bucket, one.bundle) for one in components]
    made = templates.resources("dev", FLEET, "AWS::GreengrassV2::ComponentVersion").values()
    assert {one.recipe.read_text(encoding="utf-8") for one in built} == {one["InlineRecipe"] for one in made}


def test_a_version_that_is_replaced_in_the_template_stays_on_the_devices_that_run_it(templates: Templates) -> None:
    resources = templates.stages["dev"][FLEET]["Resources"].values()
    versions = [one for one in resources if one["Type"] == "AWS::GreengrassV2::ComponentVersion"]
    assert {(one["UpdateReplacePolicy"], one["DeletionPolicy"]) for one in versions} == {("Retain", "Delete")}
    kept = templates.stages["prod"][FLEET]["Resources"].values()
    assert {one["DeletionPolicy"] for one in kept if one["Type"] == "AWS::GreengrassV2::ComponentVersion"} == {"Retain"}


def test_both_groups_have_a_first_deployment_that_names_the_nucleus_and_what_the_stage_pins(
    templates: Templates,
) -> None:
    for stage in ("dev", "lite"):
        options = read_stage(stage)
        first = options.fleet.first_deployment
        assert first is not None
        made = templates.resources(stage, FLEET, "AWS::GreengrassV2::Deployment").values()
        assert {one["TargetArn"].rpartition("/")[2] for one in made} == {
            options.fleet.canary_group,
            options.fleet.fleet_group,
        }
        for one in made:
            versions = {name: component["ComponentVersion"] for name, component in one["Components"].items()}
            assert versions == {
                options.nucleus.component: options.nucleus.version,  # of the examples, which are of the first day
                "com.sam3edge.Segmenter": first.code,
                "com.sam3edge.Uploader": first.code,
                "com.sam3edge.Model": first.model,
            }


def test_example_stages_pin_the_versions_that_their_templates_make() -> None:
    for stage in (read_stage(name) for name in STAGES):
        first = stage.fleet.first_deployment
        if first is not None:
            made = {one.kind: one.version for one in components_of(stage)}
            assert made == {"segmenter": first.code, "uploader": first.code, "model": first.model}


def first_deployments_of(stage: Stage) -> dict[str, dict[str, Any]]:
    """What CloudFormation compares: the properties of the stack's deployments, by logical id."""
    import aws_cdk as cdk
    from aws_cdk import aws_greengrassv2 as greengrass

    from sam3edge_infra.stacks.endpoint import endpoint_of
    from sam3edge_infra.stacks.fleet import FleetStack
    from sam3edge_infra.stacks.storage import storage_of
    from sam3edge_infra.stages.stage import NoEndpoint

    naming = naming_of(stage)
    served = None if isinstance(stage.endpoint, NoEndpoint) else endpoint_of(naming, stage.endpoint)
    stack = FleetStack(cdk.App(), naming, storage_of(naming), served, stage)
    made = [one for one in stack.node.find_all() if isinstance(one, greengrass.CfnDeployment)]
    return {
        str(stack.resolve(one.logical_id)): {
            "TargetArn": one.target_arn,
            "DeploymentName": one.deployment_name,
            "Components": stack.resolve(one.components),
        }
        for one in made
    }


def first_components(stage: Stage) -> dict[str, Any]:
    """Of the first deployment of either group."""
    first, second = (one["Components"] for one in first_deployments_of(stage).values())
    assert first == second
    return dict(first)


def test_a_later_version_of_the_code_does_not_touch_the_first_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation would replace it, and so what a roll-out has deployed."""
    before = first_components(read_stage("dev"))
    monkeypatch.setattr("sam3edge.__version__", "9.9.9")
    assert components_of(read_stage("dev"))[0].version == "9.9.9"
    assert first_components(read_stage("dev")) == before


FALLBACK_DENIED = yaml.safe_load((FOLDER / "dev.yaml").read_text())["fleet"] | {"endpoint_fallback": "denied"}
CHANGES: tuple[dict[str, Any], ...] = (
    {"nucleus": {"kind": "lite", "version": "2.6.0"}},
    {"endpoint": {"kind": "serverless"}},
    {"endpoint": {"kind": "instance", "instance_type": "ml.g6e.xlarge"}},
    {"endpoint": {"kind": "async", "instance_type": "ml.g6e.xlarge"}, "fleet": FALLBACK_DENIED},
    {"bundle": {"source": "registry", "version": 7}},
    {"containers": {"source": "pull", "tag": "2.0.0"}},
    {"network": {"kind": "new", "cidr": "10.41.0.0/16"}},
    {"labeling": {"phrases": ["crate"]}},
    {"training": {"schedule": None}},
    {"consumers": {"destinations": []}},
    {"monitoring": {"silent_minutes": 5}},
)


@pytest.mark.parametrize("change", [*CHANGES, {"fleet": FALLBACK_DENIED}], ids=lambda change: "-".join(change))
def test_no_change_of_a_stage_takes_the_fleet_back_to_its_first_day(change: dict[str, Any]) -> None:
    """CloudFormation would replace both deployments with what they said on the first day, code and model included."""
    document = yaml.safe_load((FOLDER / "dev.yaml").read_text())
    before = first_deployments_of(parse_stage(document, "dev"))
    assert len(before) == 2
    document |= change
    assert first_deployments_of(parse_stage(document, "dev")) == before


def test_without_a_model_yet_devices_wait_for_the_first_roll_out() -> None:
    document = yaml.safe_load((FOLDER / "prod.yaml").read_text())
    document["fleet"]["first_deployment"] = {"code": "0.1.0", "prompts": ["dent"]}
    made = first_components(parse_stage(document, "prod"))
    assert set(made) == {"com.sam3edge.Segmenter", "com.sam3edge.Uploader"}
    assert "Fallback" not in made["com.sam3edge.Segmenter"]["configurationUpdate"]["merge"]


def configurations(templates: Templates, stage: str) -> dict[str, dict[str, Any]]:
    made = next(iter(templates.resources(stage, FLEET, "AWS::GreengrassV2::Deployment").values()))
    return {
        name: json.loads(component["ConfigurationUpdate"]["Merge"])
        for name, component in made["Components"].items()
        if "ConfigurationUpdate" in component
    }


def test_components_accept_what_the_first_deployment_tells_them(templates: Templates) -> None:
    told = configurations(templates, "dev")
    segmenter = read_segmenter_settings(
        {"Source": {"Type": "folder", "Path": "/images"}, **told["com.sam3edge.Segmenter"]}
    )
    assert [one.text for one in segmenter.prompts] == ["metal tag", "scratch"]
    assert segmenter.fallback.endpoint == "sam3edge-dev-endpoint"
    assert segmenter.hard_examples.enabled
    uploader = read_uploader_settings(told["com.sam3edge.Uploader"])
    assert uploader.bucket == naming_of(read_stage("dev")).bucket("examples").name


def test_an_endpoint_is_asked_only_where_the_stage_allows_it(templates: Templates) -> None:
    denied = parse_stage(
        yaml.safe_load((FOLDER / "dev.yaml").read_text().replace("endpoint_fallback: allowed", "")), "dev"
    )
    assert denied.fleet.endpoint_fallback == "denied"
    assert "Fallback" not in json.dumps(templates.stages["none"][FLEET])
    assert "sagemaker:InvokeEndpoint" not in role_policy(templates.stages["none"][FLEET], "ExchangeRole").actions()


def test_a_first_deployment_names_whole_versions() -> None:
    document = yaml.safe_load((FOLDER / "prod.yaml").read_text())
    document["fleet"]["first_deployment"] = {"code": "latest", "prompts": ["dent"]}
    with pytest.raises(SettingsError, match="expected the version of a component"):
        parse_stage(document, "prod")


def test_a_device_gets_one_name_one_group_its_policies_and_its_certificate_alone(templates: Templates) -> None:
    for stage in STAGES:
        options = read_stage(stage)
        fleet = fleet_of(naming_of(options), options)
        template = templates.only(stage, FLEET, "AWS::IoT::ProvisioningTemplate")
        assert template["TemplateName"] == fleet.template
        assert template["TemplateType"] == "FLEET_PROVISIONING"
        body = json.loads(template["TemplateBody"])
        assert body == provisioning_template(fleet.things, fleet.policies, options.fleet.fleet_group)
        named = body["Resources"]["thing"]["Properties"]
        assert named["ThingName"] == {"Fn::Join": ["", [f"sam3edge-{stage}-", {"Ref": SERIAL_PARAMETER}]]}
        assert named["ThingGroups"] == [{"Ref": GROUP_PARAMETER}]
        assert body["Resources"]["certificate"]["Properties"]["ThingPrincipalType"] == "EXCLUSIVE_THING"
        attached = [one["Properties"] for one in body["Resources"].values() if one["Type"] == "AWS::IoT::Policy"]
        assert attached == [{"PolicyName": name} for name in fleet.policies]
        policies = {one["PolicyName"] for one in templates.resources(stage, FLEET, "AWS::IoT::Policy").values()}
        assert policies == {*fleet.policies, fleet.claim_policy}


def test_the_hook_is_asked_by_this_template_alone_and_may_do_nothing_but_its_item(templates: Templates) -> None:
    template = templates.stages["dev"][FLEET]
    provisioning = templates.only("dev", FLEET, "AWS::IoT::ProvisioningTemplate")
    function = templates.only("dev", FLEET, "AWS::Lambda::Function")
    assert provisioning["PreProvisioningHook"]["TargetArn"].endswith(f":function:{function['FunctionName']}")
    assert (function["Runtime"], function["Handler"]) == ("python3.14", "hook.allow")
    table = templates.only("dev", FLEET, "AWS::DynamoDB::Table")
    assert function["Environment"]["Variables"]["SAM3EDGE_DEVICES_TABLE"] == table["TableName"]
    assert table["KeySchema"] == [{"AttributeName": "serial", "KeyType": "HASH"}]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    permissions = templates.resources("dev", FLEET, "AWS::Lambda::Permission").values()
    assert {one["Principal"] for one in permissions} == {"iot.amazonaws.com", "events.amazonaws.com"}
    permission = next(one for one in permissions if one["Principal"] == "iot.amazonaws.com")
    assert permission["SourceArn"].endswith(f":provisioningtemplate/{provisioning['TemplateName']}")
    role = role_policy(template, "ProvisioningHookRole")
    assert role.actions() == hook_calls() | {"logs:CreateLogStream", "logs:PutLogEvents"}
    for action in ("dynamodb:GetItem", "dynamodb:UpdateItem"):
        assert role.resources(action) == {f"arn:aws:dynamodb:eu-central-1:111122223333:table/{table['TableName']}"}
    assert role.resources("iot:ListThingPrincipals") == {"arn:aws:iot:eu-central-1:111122223333:thing/sam3edge-dev-*"}


def hook_calls() -> set[str]:
    """What the hook asks of AWS when a device comes again after its provisioning has failed, under moto."""
    called = set()

    def note(model: Any, **_: Any) -> None:
        called.add(f"{model.service_model.service_name}:{model.name}")

    with mock_aws():
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-central-1"}
        table = boto3.resource("dynamodb", **keys).create_table(
            TableName="devices",
            KeySchema=[{"AttributeName": "serial", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "serial", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        now = datetime.now(timezone.utc)
        tried = {"certificate": "c-1", "provisioned_at": (now - ATTEMPT).isoformat()}
        table.put_item(Item={"serial": "cam-7", "group": "g", "expires": 9_999_999_999, **tried})
        iot = boto3.client("iot", **keys)
        for client in (table.meta.client, iot):
            client.meta.events.register("provide-client-params.*.*", note)
        asked = {"certificateId": "c-2", "parameters": {"SerialNumber": "cam-7"}}
        assert Hook(table, iot, "sam3edge-dev-").decide(asked, now)["allowProvisioning"]
    return called


def test_the_hooks_zip_is_its_module_alone(templates: Templates) -> None:
    """AWS IoT Core waits five seconds; an image of the other functions' size is too slow when it begins."""
    [function] = (
        one for one in templates.stages["dev"][FLEET]["Resources"].values() if one["Type"] == "AWS::Lambda::Function"
    )
    digest = function["Properties"]["Code"]["S3Key"].removesuffix(".zip")
    files = {path.name for path in (templates.root / "dev" / f"asset.{digest}").rglob("*")}
    assert files == {"__init__.py", "hook.py"}


def test_the_hook_is_called_daily_so_that_it_stays_active(templates: Templates) -> None:
    rule = templates.only("dev", FLEET, "AWS::Events::Rule")
    assert rule["ScheduleExpression"] == "rate(1 day)"
    assert [json.loads(one["Input"]) for one in rule["Targets"]] == [{}]


@pytest.mark.parametrize(
    ("action", "resource", "allowed"),
    [
        ("iot:CreateThing", "thing/sam3edge-dev-cam-7", True),
        ("iot:CreateThing", "thing/sam3edge-prod-cam-7", False),
        ("iot:AddThingToThingGroup", "thinggroup/sam3edge-dev-canary", True),
        ("iot:AddThingToThingGroup", "thinggroup/administrators", False),
        ("iot:AttachPolicy", "cert/abc", True),
        ("iot:AttachThingPrincipal", "cert/abc", True),
        ("iot:UpdateCertificate", "cert/abc", True),
        ("iot:CreatePolicy", "policy/sam3edge-dev-device", False),
        ("iot:DeleteThing", "thing/sam3edge-dev-cam-7", False),
    ],
)
def test_provisioning_makes_our_things_only(templates: Templates, action: str, resource: str, allowed: bool) -> None:
    role = role_policy(templates.stages["dev"][FLEET], "ProvisioningRole")
    assert role.allows(action, f"arn:aws:iot:eu-central-1:111122223333:{resource}") is allowed


def test_the_role_alias_gives_the_exchange_role_to_devices(templates: Templates) -> None:
    alias = templates.only("dev", FLEET, "AWS::IoT::RoleAlias")
    (role,) = alias["RoleArn"].values()
    trust = templates.stages["dev"][FLEET]["Resources"][role[0]]["Properties"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0]["Principal"] == {"Service": "credentials.iot.amazonaws.com"}
    device = next(
        one["PolicyDocument"]
        for one in templates.resources("dev", FLEET, "AWS::IoT::Policy").values()
        if one["PolicyName"] == "sam3edge-dev-device-nucleus"
    )
    assert policy_of(device).resources("iot:AssumeRoleWithCertificate") == {
        f"arn:aws:iot:eu-central-1:111122223333:rolealias/{alias['RoleAlias']}"
    }


def actions(templates: Templates, stage: str) -> set[str]:
    rule = templates.only(stage, FLEET, "AWS::IoT::TopicRule")["TopicRulePayload"]
    return {name for one in rule["Actions"] for name in one}


def test_detections_go_where_the_stage_says(templates: Templates) -> None:
    assert actions(templates, "dev") == {"Firehose", "Sqs"}
    assert actions(templates, "lite") == {"Sqs"}
    assert actions(templates, "prod") == {"Firehose"}
    assert templates.resources("none", FLEET, "AWS::IoT::TopicRule") == {}
    for stage, kinds in (
        ("lite", {"AWS::KinesisFirehose::DeliveryStream": 0, "AWS::Pipes::Pipe": 1, "AWS::Events::EventBus": 1}),
        ("prod", {"AWS::KinesisFirehose::DeliveryStream": 1, "AWS::Pipes::Pipe": 0, "AWS::Events::EventBus": 0}),
    ):
        assert {kind: len(templates.resources(stage, FLEET, kind)) for kind in kinds} == kinds


def test_a_device_cannot_speak_for_another(templates: Templates) -> None:
    rule = templates.only("dev", FLEET, "AWS::IoT::TopicRule")["TopicRulePayload"]
    assert rule["Sql"] == "SELECT * FROM 'sam3edge/+/detections' WHERE device = topic(2)"
    firehose = next(one["Firehose"] for one in rule["Actions"] if "Firehose" in one)
    assert firehose["Separator"] == "\n"
    stream = templates.only("dev", FLEET, "AWS::KinesisFirehose::DeliveryStream")
    assert firehose["DeliveryStreamName"] == stream["DeliveryStreamName"]
    bucket = naming_of(read_stage("dev")).bucket("detections")
    assert stream["ExtendedS3DestinationConfiguration"]["BucketARN"] == bucket.arn


def test_a_rule_that_fails_says_so_where_its_role_may_write(templates: Templates) -> None:
    seen = set()
    for stage in STAGES:
        for stack in templates.stages[stage]:
            for rule in templates.resources(stage, stack, "AWS::IoT::TopicRule").values():
                [(kind, action)] = rule["TopicRulePayload"]["ErrorAction"].items()
                seen.add((stack, kind))
                if kind == "CloudwatchLogs":
                    group = templates.stages[stage][stack]["Resources"][action["LogGroupName"]["Ref"]]["Properties"]
                    arn = f"arn:aws:logs:{place(stage)}:log-group:{group['LogGroupName']}:log-stream:x"
                    role = role_policy(templates.stages[stage][stack], action["RoleArn"]["Fn::GetAtt"][0][:-8])
                    for name in ("CreateLogStream", "DescribeLogStreams", "PutLogEvents"):
                        assert role.allows(f"logs:{name}", arn), (stage, stack, name)
    assert seen == {(FLEET, "CloudwatchLogs"), ("monitoring", "CloudwatchLogs"), ("rollout", "Sqs")}


def place(stage: str) -> str:
    options = read_stage(stage)
    return f"{options.region}:{options.account}"


def test_each_role_on_the_way_may_do_its_step_alone(templates: Templates) -> None:
    template = templates.stages["dev"][FLEET]
    arn = "arn:aws:{}:eu-central-1:111122223333:{}".format
    rule, pipe = role_policy(template, "DetectionsRole"), role_policy(template, "PipeRole")
    assert rule.allows("firehose:PutRecord", arn("firehose", "deliverystream/sam3edge-dev-detections"))
    assert rule.allows("sqs:SendMessage", arn("sqs", "sam3edge-dev-detections"))
    assert not rule.allows("sqs:SendMessage", arn("sqs", "sam3edge-dev-observations"))
    assert pipe.actions() == {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "events:PutEvents",
    }
    assert pipe.allows("events:PutEvents", arn("events", "event-bus/sam3edge-dev-detections"))
    assert not pipe.allows("events:PutEvents", arn("events", "event-bus/default"))
    stream = role_policy(template, "StreamRole")
    bucket = naming_of(read_stage("dev")).bucket("detections").arn
    assert stream.allows("s3:PutObject", f"{bucket}/detections/2026/11/28/12/x.gz")
    assert not stream.allows("s3:PutObject", f"{bucket}/else")
    assert not stream.allows("s3:DeleteObject", f"{bucket}/detections/x")


def test_no_role_has_a_managed_policy_or_an_action_with_a_wildcard(templates: Templates) -> None:
    for stage in STAGES:
        for role in templates.resources(stage, FLEET, "AWS::IAM::Role").values():
            assert "ManagedPolicyArns" not in role
        for policy in templates.resources(stage, FLEET, "AWS::IAM::Policy").values():
            assert not [one for one in policy_of(policy["PolicyDocument"]).actions() if "*" in one]


def test_the_guides_deployment_by_hand_is_what_the_template_would_make() -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text()
    sections = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    (by_hand,) = [one for one in sections if "targetArn" in one]
    (told,) = [one for one in sections if "fleet" in one]
    shape = boto3.Session().client("greengrassv2", region_name="eu-central-1").meta.service_model
    report = ParamValidator().validate(by_hand, shape.operation_model("CreateDeployment").input_shape)
    assert not report.has_errors(), report.generate_report()
    document = yaml.safe_load((FOLDER / "dev.yaml").read_text()) | {"name": "test"} | told
    deployments = first_deployments_of(parse_stage(document, "the guide")).values()
    (made,) = [one for one in deployments if one["DeploymentName"] == by_hand["deploymentName"]]
    assert by_hand["targetArn"] == made["TargetArn"]
    assert read_components(by_hand["components"]) == read_components(made["Components"])


def read_components(components: dict[str, Any]) -> dict[str, Any]:
    """Of a deployment, as the API or a template writes them: each with its version and its configuration."""
    found = {}
    for name, written in components.items():
        one = {key[0].lower() + key[1:]: value for key, value in written.items()}
        found[name] = one["componentVersion"], json.loads(one.get("configurationUpdate", {}).get("merge", "{}"))
    return found
