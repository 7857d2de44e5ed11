"""The pipeline that deploys: where sources come from, the order of its stages, what its roles may do."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
import tomllib
from aws_cdk import aws_iam as iam
from cdk_nag import AwsSolutionsChecks
from moto import mock_aws
from moto.events.models import EventPattern

from sam3edge_infra.app import FLAGS
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.constructs.wildcards import Wildcard, accept_wildcards, resource_text
from sam3edge_infra.emptying import empty
from sam3edge_infra.stacks.delivery import CDK_CLI, INSTALL, NODE, PYTHON, DeliveryStack
from sam3edge_infra.stacks.storage import StorageStack
from sam3edge_infra.stages.delivery import CodeConnectionSource, Delivery
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.retention import Retention
from support.infra_templates import Templates

ROOT = Path(__file__).parents[3]
STAGE = read_stage("delivered")
NAMING = naming_of(STAGE)
PLACE = "eu-west-1:111122223333"
SOURCES = {
    "codecommit": {"kind": "codecommit", "repository": "sam3edge", "branch": "trunk"},
    "s3": {"kind": "s3", "bucket": "yard-sources", "key": "sam3edge.zip"},
}

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="the CDK needs Node.js"),
    pytest.mark.timeout(900),  # of synthesis, on a machine that does other things
    pytest.mark.long,
]


def synthesised(folder: Path, source: str, **options: Any) -> dict[str, dict[str, Any]]:
    """Resources of the pipeline of one stack; cdk-nag ends the synthesis where it finds something."""
    app = cdk.App(outdir=str(folder), analytics_reporting=False, context=FLAGS)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    delivery = DeliveryStack(app, NAMING, Delivery.model_validate({"source": SOURCES[source], **options}))
    deployed = cdk.Stage(app, "delivered")
    storage = StorageStack(deployed, NAMING, Retention())
    late = cdk.Stack(deployed, "late", stack_name=NAMING("late"), env=cdk.Environment(account="111122223333"))
    cdk.CfnWaitConditionHandle(late, "Handle")
    late.add_stack_dependency(storage)
    delivery.deploy(deployed, storage)
    app.synth()
    return dict(json.loads((folder / "delivery.template.json").read_text())["Resources"])


@pytest.fixture(scope="module")
def pushed(templates: Templates) -> dict[str, dict[str, Any]]:
    """Of the example: the whole application below a pipeline."""
    return dict(templates.stages["delivered"]["delivery"]["Resources"])


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return synthesised(
        tmp_path_factory.mktemp("uploaded"), "s3", schedule="rate(7 days)", after="nothing", approval="manual"
    )


def of_type(resources: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in resources.values() if one["Type"] == kind]


def actions_in(resources: dict[str, dict[str, Any]]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Stages of the pipeline with their actions in order."""
    (pipeline,) = of_type(resources, "AWS::CodePipeline::Pipeline")
    return [
        (stage["Name"], sorted((one["RunOrder"], one["Name"]) for one in stage["Actions"]))
        for stage in pipeline["Stages"]
    ]


def source_action(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (pipeline,) = of_type(resources, "AWS::CodePipeline::Pipeline")
    (action,) = pipeline["Stages"][0]["Actions"]
    return dict(action)


def test_nothing_is_synthesised_that_was_not_tested_and_nothing_deployed_by_an_old_pipeline(
    pushed: dict[str, dict[str, Any]],
) -> None:
    assert [(name, [action for _, action in actions]) for name, actions in actions_in(pushed)][:3] == [
        ("Source", ["Source"]),
        ("Build", ["Test", "Synth"]),
        ("UpdatePipeline", ["SelfMutate"]),
    ]


def test_the_whole_application_is_delivered_in_the_order_that_it_needs(
    pushed: dict[str, dict[str, Any]], templates: Templates
) -> None:
    """Artifacts are there when what comes after the buckets is deployed, and labels are asked for at the end."""
    deployed = dict(actions_in(pushed))["delivered"]
    order = {name.removeprefix("sam3edge-delivered-"): run for run, name in deployed}
    stacks = templates.stages["delivered"].keys() - {"delivery"}
    assert {name.removesuffix(".Deploy") for name in order if name.endswith(".Deploy")} == stacks
    assert order["storage.Deploy"] < order["storage.Components"]
    assert all(order["storage.Components"] < order[f"{name}.Prepare"] for name in ("labeling", "fleet", "monitoring"))
    assert order["labeling.Deploy"] < order["training.Prepare"]
    assert max(order, key=lambda name: order[name]) == "AskForLabels"
    assert "python -m sam3edge_infra.components --stage delivered" in commands(pushed)
    assert importlib.util.find_spec("sam3edge_infra.components") is not None


def test_with_a_pipeline_a_stage_has_the_stacks_that_it_has_without(templates: Templates) -> None:
    assert templates.stages["delivered"].keys() - {"delivery"} == templates.stages["dev"].keys()
    at_the_top = [path.name for path in (templates.root / "delivered").glob("*.template.json")]
    assert at_the_top == ["delivery.template.json"]


def test_labels_are_asked_for_unless_the_stage_says_otherwise(uploaded: dict[str, dict[str, Any]]) -> None:
    assert "AskForLabels" not in [name for _, actions in actions_in(uploaded) for _, name in actions]


def test_the_source_is_the_stages(pushed: dict[str, dict[str, Any]], uploaded: dict[str, dict[str, Any]]) -> None:
    connected = source_action(pushed)
    assert connected["ActionTypeId"]["Provider"] == "CodeStarSourceConnection"
    assert STAGE.delivery is not None
    source = STAGE.delivery.source
    assert isinstance(source, CodeConnectionSource)
    told = [connected["Configuration"][name] for name in ("ConnectionArn", "FullRepositoryId", "BranchName")]
    assert told == [source.connection, source.repository, source.branch]
    zipped = source_action(uploaded)
    assert zipped["ActionTypeId"]["Provider"] == "S3"
    assert (zipped["Configuration"]["S3Bucket"], zipped["Configuration"]["S3ObjectKey"]) == (
        "yard-sources",
        "sam3edge.zip",
    )


def test_codecommit_is_a_source(tmp_path: Path) -> None:
    resources = synthesised(tmp_path, "codecommit")
    action = source_action(resources)
    assert action["ActionTypeId"]["Provider"] == "CodeCommit"
    assert (action["Configuration"]["RepositoryName"], action["Configuration"]["BranchName"]) == ("sam3edge", "trunk")


@pytest.mark.parametrize(
    ("bucket", "key", "matches"),
    [
        ("yard-sources", "sam3edge.zip", True),
        ("yard-sources", "other.zip", False),
        ("others", "sam3edge.zip", False),
    ],
)
def test_an_upload_of_the_sources_starts_the_pipeline(
    uploaded: dict[str, dict[str, Any]], bucket: str, key: str, matches: bool
) -> None:
    """Of S3 CodePipeline would know by polling, or by a trail of CloudTrail."""
    (pattern,) = (one["EventPattern"] for one in of_type(uploaded, "AWS::Events::Rule") if "EventPattern" in one)
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
    }
    assert EventPattern.load(json.dumps(pattern)).matches_event(event) is matches


def test_a_schedule_starts_the_pipeline(uploaded: dict[str, dict[str, Any]], pushed: dict[str, dict[str, Any]]) -> None:
    rules = of_type(uploaded, "AWS::Events::Rule")
    assert [one["ScheduleExpression"] for one in rules if "ScheduleExpression" in one] == ["rate(7 days)"]
    pipeline = f"arn:aws:codepipeline:{PLACE}:sam3edge-delivered-delivery"
    assert {target["Arn"] for one in rules for target in one["Targets"]} == {pipeline}
    assert not of_type(pushed, "AWS::Events::Rule")


def commands(resources: dict[str, dict[str, Any]]) -> str:
    return json.dumps([one["Source"].get("BuildSpec") for one in of_type(resources, "AWS::CodeBuild::Project")])


def test_projects_do_what_a_checkout_can(pushed: dict[str, dict[str, Any]]) -> None:
    """Commands that are only in the pipeline are commands that nobody has tried."""
    said = commands(pushed)
    assert ".ci/run" in said
    assert (ROOT / ".ci" / "run").is_file()
    assert "python -m sam3edge_infra.app --stage delivered --out build/cdk.out" in said
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extra,) = re.findall(r"\.\[(\w+)\]", INSTALL)
    assert extra in extras
    assert INSTALL.replace('"', "") in said.replace("\\", "").replace('"', "")


def projects(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """CodeBuild's, by the end of their logical ids without digests."""
    return {
        re.sub(r"[0-9A-F]{8}$", "", name): one["Properties"]
        for name, one in resources.items()
        if one["Type"] == "AWS::CodeBuild::Project"
    }


def test_the_tests_run_where_debians_packages_can_be_installed(pushed: dict[str, dict[str, Any]]) -> None:
    """On Ubuntu ``chromium`` is a snap, which no container runs; the Node.js is the dev container's."""
    test = projects(pushed)["PipelineBuildTest"]
    dockerfile = (ROOT / ".devcontainer" / "Dockerfile").read_text()
    (node,) = re.findall(r"^ARG NODE=([\d.]+-bookworm)-slim$", dockerfile, re.MULTILINE)
    assert test["Environment"]["Image"] == f"public.ecr.aws/docker/library/node:{node}"
    assert test["Environment"]["PrivilegedMode"] is False
    build = json.loads(test["Source"]["BuildSpec"])["phases"]
    assert build["build"]["commands"] == [".ci/run"]
    assert "python3-venv" in build["install"]["commands"][-1].split()


def test_only_codebuilds_own_image_is_asked_for_versions(pushed: dict[str, dict[str, Any]]) -> None:
    """CodeBuild refuses a build that asks another one; where Python or Node.js is needed, they are pinned."""
    asked = {}
    for name, one in projects(pushed).items():
        install = (
            json.loads(one["Source"]["BuildSpec"])["phases"].get("install", {})
            if "{" in one["Source"].get("BuildSpec", "")
            else {}
        )
        asked[name] = install.get("runtime-versions", {})
        own = one["Environment"]["Image"].startswith("aws/codebuild/")
        assert own or not asked[name], name
        assert one["Environment"]["ImagePullCredentialsType"] == ("CODEBUILD" if own else "SERVICE_ROLE")
    assert asked["PipelineBuildSynthCdkBuildProject"] == {"python": PYTHON, "nodejs": NODE}
    assert asked["PipelineUpdatePipelineSelfMutation"] == {"nodejs": NODE}


def test_the_pipeline_may_use_its_connection_by_either_prefix(pushed: dict[str, dict[str, Any]]) -> None:
    statements = [
        one for policy in of_type(pushed, "AWS::IAM::Policy") for one in policy["PolicyDocument"]["Statement"]
    ]
    assert STAGE.delivery is not None
    assert isinstance(STAGE.delivery.source, CodeConnectionSource)
    allowed = {
        action
        for one in statements
        if one["Resource"] == STAGE.delivery.source.connection
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    assert {"codestar-connections:UseConnection", "codeconnections:UseConnection"} <= allowed


def test_somebody_approves_a_deployment_before_anything_of_it_where_the_stage_says_so(
    pushed: dict[str, dict[str, Any]], uploaded: dict[str, dict[str, Any]]
) -> None:
    approved = {name: run for run, name in dict(actions_in(uploaded))["delivered"]}
    assert min(approved, key=lambda name: approved[name]) == "Approve"
    assert list(approved.values()).count(approved["Approve"]) == 1
    assert "Approve" not in [name for _, actions in actions_in(pushed) for _, name in actions]


def test_the_pipeline_has_the_command_line_that_make_deploy_has(pushed: dict[str, dict[str, Any]]) -> None:
    package = json.loads((ROOT / "infra" / "node" / "package.json").read_text())
    assert package["dependencies"]["aws-cdk"] == CDK_CLI
    assert f"aws-cdk@{CDK_CLI}" in commands(pushed)


def test_labels_are_asked_for_by_the_function_that_the_schedule_calls(pushed: dict[str, dict[str, Any]]) -> None:
    function = f"arn:aws:lambda:{PLACE}:function:sam3edge-delivered-retrain-label"
    statements = [
        one for policy in of_type(pushed, "AWS::IAM::Policy") for one in policy["PolicyDocument"]["Statement"]
    ]
    assert [one["Resource"] for one in statements if one["Action"] == "lambda:InvokeFunction"] == [function]
    assert "--function-name sam3edge-delivered-retrain-label " in commands(pushed)


def test_no_role_may_everything(pushed: dict[str, dict[str, Any]]) -> None:
    for role in of_type(pushed, "AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role
    for policy in of_type(pushed, "AWS::IAM::Policy"):
        for one in policy["PolicyDocument"]["Statement"]:
            actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
            assert not [name for name in actions if name.split(":")[1] == "*"]
            if one["Resource"] == "*":
                read_or_build = ("cloudformation:Describe", "s3:ListBucket", "codebuild:")
                assert all(name.startswith(read_or_build) for name in actions), actions


def policy_with(*statements: iam.PolicyStatement) -> tuple[cdk.App, cdk.Stack]:
    app = cdk.App(analytics_reporting=False)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    stack = cdk.Stack(app, "some")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com"))
    for one in statements:
        role.add_to_policy(one)
    return app, stack


ACCEPTED = [Wildcard(frozenset({"s3:GetObject*", "s3:List*"}), r"arn:aws:s3:::kept/\*", "because")]


def test_a_wildcard_is_accepted_for_the_actions_it_was_read_for() -> None:
    app, stack = policy_with(iam.PolicyStatement(actions=["s3:GetObject*"], resources=["arn:aws:s3:::kept/*"]))
    accept_wildcards(stack, ACCEPTED)
    app.synth()


@pytest.mark.parametrize(
    ("action", "resource"), [("s3:GetObject*", "arn:aws:s3:::other/*"), ("s3:PutObject", "arn:aws:s3:::kept/*")]
)
def test_any_other_wildcard_ends_the_synthesis(action: str, resource: str) -> None:
    app, stack = policy_with(iam.PolicyStatement(actions=[action], resources=[resource]))
    accept_wildcards(stack, ACCEPTED)
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()


def test_resources_are_written_as_cdk_nag_does() -> None:
    join = {"Fn::Join": ["", ["arn:aws:logs:x:", {"Ref": "Project"}, ":", {"Fn::GetAtt": ["Bucket", "Arn"]}, "/*"]]}
    assert resource_text(join) == "arn:aws:logs:x:<Project>:<Bucket.Arn>/*"
    with pytest.raises(ValueError, match="expected text, Ref"):
        resource_text({"Fn::Select": [0, []]})


def test_the_buckets_of_the_pipeline_are_emptied_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_ACCOUNT_ID", STAGE.account)
    stage = STAGE.model_copy(update={"data": "delete"})
    name = NAMING.bucket("delivery").name
    with mock_aws():
        s3 = boto3.resource("s3", region_name=STAGE.region)
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": STAGE.region})
        s3.Bucket(name).put_object(Key="artifact", Body=b"x")
        assert empty(s3, stage) == 1
