"""What devices may do is what their components do, run here against fakes that write down what they are asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from sam3edge.hard_examples.example import EXAMPLE, FRAME, StoredExample
from sam3edge.invocations.request import InvocationRequest
from sam3edge.invocations.sagemaker import SageMakerTransport
from sam3edge.uploader.credentials import TokenExchange
from sam3edge.uploader.pace import Pace
from sam3edge.uploader.s3 import S3Bucket, address_of
from sam3edge.uploader.settings import Settings as UploaderSettings
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stacks.device_access import (
    DEVICE_POLICIES,
    MAX_POLICY,
    OF_COMPONENTS,
    OF_NO_RESOURCE,
    claim_policy,
    device_policies,
)
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.values import REGIONS
from sam3edge_pipeline.greengrass_build.build import NAMES, PACKAGE
from support.fake_s3 import TOKEN, fake_s3
from support.iam import Policy, policy_of, role_policy
from support.infra_templates import STAGES, Templates

OWN, OTHER = "sam3edge-dev-cam-7", "sam3edge-dev-cam-8"
GREENGRASS = "arn:aws:greengrass:eu-central-1"
IOT = "arn:aws:iot:eu-central-1:111122223333"
EXAMPLES = "arn:aws:s3:::sam3edge-dev-examples-111122223333-eu-central-1"
ARTIFACTS = "arn:aws:s3:::sam3edge-dev-artifacts-111122223333-eu-central-1"

S3_ACTIONS = {
    "PUT": "s3:PutObject",
    "POST uploads": "s3:PutObject",
    "PUT partNumber": "s3:PutObject",
    "POST uploadId": "s3:PutObject",
    "DELETE uploadId": "s3:AbortMultipartUpload",
}
"""Actions by request, https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions."""

GREENGRASS_LOGS = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"}
"""What Greengrass' own log manager calls."""


@dataclass(frozen=True)
class Call:
    """A call of AWS.

    Attributes:
        name: of the operation.
    """

    name: str
    key: str = ""
    endpoint: str = ""


@pytest.fixture(scope="module")
def device(templates: Templates) -> Policy:
    """The policies of a device's certificate, as one."""
    found = templates.resources("dev", "fleet", "AWS::IoT::Policy").values()
    named = {f"sam3edge-dev-{name}" for name in DEVICE_POLICIES}
    documents = [one["PolicyDocument"] for one in found if one["PolicyName"] in named]
    assert len(documents) == len(named)
    return Policy(tuple(statement for one in documents for statement in one["Statement"]))


@pytest.fixture(scope="module")
def claim(templates: Templates) -> Policy:
    found = templates.resources("dev", "fleet", "AWS::IoT::Policy").values()
    return policy_of(next(one["PolicyDocument"] for one in found if one["PolicyName"] == "sam3edge-dev-claim"))


def exchange(templates: Templates, stage: str) -> Policy:
    """What the credentials of a device are good for."""
    return role_policy(templates.stages[stage]["fleet"], "ExchangeRole")


def as_thing(name: str) -> dict[str, str]:
    return {"iot:Connection.Thing.ThingName": name, "credentials-iot:ThingName": name}


def recipe_topics() -> Iterator[tuple[str, str]]:
    """Operations of the components' recipes, and topics below the device's own."""
    for kind in NAMES:
        recipe = yaml.safe_load((PACKAGE / kind / "recipe.yaml").read_text(encoding="utf-8"))
        proxy = recipe["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]
        for access in proxy["aws.greengrass.ipc.mqttproxy"].values():
            for operation in access["operations"]:
                for topic in access["resources"]:
                    yield operation.removeprefix("aws.greengrass#"), topic.removeprefix("sam3edge/+/")


OPERATIONS = {
    "PublishToIoTCore": [("iot:Publish", "topic")],
    "SubscribeToIoTCore": [("iot:Subscribe", "topicfilter"), ("iot:Receive", "topic")],
}


def test_a_device_may_use_the_topics_of_the_recipes_below_its_own_name_and_no_others(device: Policy) -> None:
    needed: dict[str, set[str]] = {}
    for operation, name in recipe_topics():
        for action, kind in OPERATIONS[operation]:
            assert device.allows(action, f"{IOT}:{kind}/sam3edge/{OWN}/{name}", as_thing(OWN)), (action, name)
            assert not device.allows(action, f"{IOT}:{kind}/sam3edge/{OTHER}/{name}", as_thing(OWN)), (action, name)
            needed.setdefault(action, set()).add(name)
    for action in ("iot:Publish", "iot:Subscribe", "iot:Receive"):
        ours = [one for one in device.resources(action) if "/sam3edge/" in one]
        assert {one.partition("ThingName}/")[2] for one in ours} == needed[action], action


def test_a_device_connects_as_itself_by_all_connections_of_its_nucleus(device: Policy) -> None:
    for client in (OWN, f"{OWN}#2"):
        assert device.allows("iot:Connect", f"{IOT}:client/{client}", as_thing(OWN))
    for client in (OTHER, f"{OWN}8", f"{OTHER}#2", "anybody"):
        assert not device.allows("iot:Connect", f"{IOT}:client/{client}", as_thing(OWN))


def test_its_nucleus_hears_of_deployments(device: Policy) -> None:
    for name in ("jobs/notify-next", "jobs/$next/get", "shadow/name/AWSManagedGreengrassV2Deployment/update"):
        own, other = (f"$aws/things/{thing}/{name}" for thing in (OWN, OTHER))
        assert device.allows("iot:Publish", f"{IOT}:topic/{own}", as_thing(OWN))
        assert device.allows("iot:Receive", f"{IOT}:topic/{own}", as_thing(OWN))
        assert device.allows("iot:Subscribe", f"{IOT}:topicfilter/{own}", as_thing(OWN))
        assert not device.allows("iot:Publish", f"{IOT}:topic/{other}", as_thing(OWN))
        assert not device.allows("iot:Subscribe", f"{IOT}:topicfilter/{other}", as_thing(OWN))
    assert device.allows("iot:Publish", f"{IOT}:topic/$aws/things/{OWN}/greengrassv2/health/json", as_thing(OWN))
    assert device.allows("iot:AssumeRoleWithCertificate", f"{IOT}:rolealias/sam3edge-dev-devices", as_thing(OWN))
    for action in OF_COMPONENTS:
        for name in NAMES.values():
            assert device.allows(action, f"{GREENGRASS}:111122223333:components:{name}:versions:1.0.0")
        for name in ("aws.greengrass.Nucleus", "aws.greengrass.TokenExchangeService"):
            assert device.allows(action, f"{GREENGRASS}:aws:components:{name}:versions:2.18.1")
        assert not device.allows(action, f"{GREENGRASS}:111122223333:components:com.example.Payroll:versions:1.0.0")
    for action in OF_NO_RESOURCE:
        assert device.allows(action, "*")


def test_policies_fit_aws_iot_core_in_every_region() -> None:
    longest = naming_of(read_stage("dev").model_copy(update={"name": "a" * 12, "region": max(REGIONS, key=len)}))
    documents = [*device_policies(longest, longest("devices")).values()]
    documents.append(claim_policy(longest, longest("devices"), longest("")))
    for one in documents:
        assert len(json.dumps(one, separators=(",", ":"))) <= MAX_POLICY


def test_a_policy_that_has_become_too_long_is_not_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = tuple(f"another/{number}" for number in range(20))
    monkeypatch.setattr("sam3edge_infra.stacks.device_access.PUBLISHED", topics)
    naming = naming_of(read_stage("dev"))
    with pytest.raises(ValueError, match=r"expected a policy device of 2048 characters at most, got \d+; split it"):
        device_policies(naming, naming("devices"))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iot:Publish", f"{IOT}:topic/sam3edge/{OWN}/commands"),
        ("iot:Publish", f"{IOT}:topic/sam3edge/{OTHER}/detections"),
        ("iot:Publish", f"{IOT}:topic/sam3edge/{OTHER}/commands"),
        ("iot:Publish", f"{IOT}:topic/$aws/rules/sam3edge_dev_detections"),
        ("iot:Subscribe", f"{IOT}:topicfilter/sam3edge/+/detections"),
        ("iot:Subscribe", f"{IOT}:topicfilter/#"),
        ("iot:Subscribe", f"{IOT}:topicfilter/sam3edge/{OWN}/detections"),
        ("iot:Receive", f"{IOT}:topic/sam3edge/{OTHER}/commands"),
        ("iot:AssumeRoleWithCertificate", f"{IOT}:rolealias/admin"),
        ("iot:CreateThing", f"{IOT}:thing/{OWN}"),
        ("iot:AttachPolicy", f"{IOT}:cert/abc"),
        ("iot:UpdateThingShadow", f"{IOT}:thing/{OTHER}"),
        ("greengrass:CreateDeployment", "*"),
        ("greengrass:CreateComponentVersion", "*"),
        ("greengrass:DeleteComponent", "*"),
        ("greengrass:Discover", f"{IOT}:thing/{OWN}"),
    ],
)
def test_a_device_may_not(device: Policy, action: str, resource: str) -> None:
    assert not device.allows(action, resource, as_thing(OWN))


def test_a_certificate_that_belongs_to_no_thing_may_do_nothing_with_messages(device: Policy) -> None:
    assert not device.allows("iot:Connect", f"{IOT}:client/{OWN}")
    assert not device.allows("iot:Publish", f"{IOT}:topic/sam3edge/{OWN}/detections")


def test_a_claim_can_be_presented_and_nothing_else(claim: Policy) -> None:
    provision = "$aws/provisioning-templates/sam3edge-dev-devices/provision/json"
    for topic in ("$aws/certificates/create/json", "$aws/certificates/create-from-csr/json", provision):
        assert claim.allows("iot:Publish", f"{IOT}:topic/{topic}")
        assert claim.allows("iot:Receive", f"{IOT}:topic/{topic}/accepted")
        assert claim.allows("iot:Subscribe", f"{IOT}:topicfilter/{topic}/accepted")
    assert claim.allows("iot:Connect", f"{IOT}:client/0e6a59c2-6a1c-4a1d-9d84-8f2a7a4c0d55")
    for action, resource in (
        ("iot:Connect", f"{IOT}:client/{OWN}"),
        ("iot:Connect", f"{IOT}:client/{OWN}#2"),
        ("iot:Publish", f"{IOT}:topic/sam3edge/{OWN}/detections"),
        ("iot:Publish", f"{IOT}:topic/$aws/provisioning-templates/another/provision/json"),
        ("iot:Subscribe", f"{IOT}:topicfilter/#"),
        ("iot:AssumeRoleWithCertificate", f"{IOT}:rolealias/sam3edge-dev-devices"),
        ("iot:Connect", f"{IOT}:client/somebody-elses-device"),
        ("iot:Connect", f"{IOT}:client/0e6a59c2-6a1c-4a1d-9d84-8f2a7a4c0d55#2"),
        *((action, "*") for action in (*OF_COMPONENTS, *OF_NO_RESOURCE)),
    ):
        assert not claim.allows(action, resource), (action, resource)


def uploader_calls() -> list[Call]:
    """What the uploader asks of S3: whole, in parts, given up; the key as it makes it, below the first deployment's."""
    example = StoredExample(Path(), "f1", datetime(2026, 11, 28, tzinfo=timezone.utc), "0" * 64, b"{}")
    key = example.key(UploaderSettings().prefix, OWN)
    with fake_s3() as s3:
        tokens = TokenExchange(s3.exchange, TOKEN)
        pace = Pace(0, lambda: 0.0, lambda seconds: None)
        address = address_of(s3.bucket, s3.region, s3.url)
        bucket = S3Bucket(address, tokens.credentials, tokens.forget, pace, lambda count: None)
        upload = bucket.begin(key + FRAME, "image/jpeg")
        parts = [bucket.put_part(key + FRAME, upload, number, b"x" * 200) for number in (1, 2)]
        bucket.complete(key + FRAME, upload, parts)
        bucket.abort(key + FRAME, bucket.begin(key + FRAME, "image/jpeg"))
        bucket.put(key + EXAMPLE, b"{}", "application/json")
        bucket.close()
        tokens.close()
        assert all(one.startswith(f"hard-examples/{OWN}/2026/11/28/") for one in s3.objects)
        return [Call(S3_ACTIONS[one], key=key) for one in s3.log]


def test_the_uploaders_calls_are_allowed_below_its_own_prefix_alone(templates: Templates) -> None:
    role = exchange(templates, "dev")
    called = uploader_calls()
    assert {call.name for call in called} == {"s3:PutObject", "s3:AbortMultipartUpload"}
    for call in called:
        assert role.allows(call.name, f"{EXAMPLES}/{call.key}frame.jpg", as_thing(OWN))
        assert not role.allows(call.name, f"{EXAMPLES}/{call.key}frame.jpg", as_thing(OTHER))
        assert not role.allows(call.name, f"{EXAMPLES}/other/{OWN}/frame.jpg", as_thing(OWN))


def test_artifacts_of_every_recipe_can_be_fetched(templates: Templates) -> None:
    role = exchange(templates, "dev")
    versions = templates.resources("dev", "fleet", "AWS::GreengrassV2::ComponentVersion").values()
    uris = [
        artifact["Uri"]
        for version in versions
        for manifest in yaml.safe_load(version["InlineRecipe"])["Manifests"]
        for artifact in manifest["Artifacts"]
    ]
    assert len(uris) == 8
    for uri in uris:
        assert role.allows("s3:GetObject", f"arn:aws:s3:::{uri.removeprefix('s3://')}", as_thing(OWN))


REQUEST = InvocationRequest("f1", b"jpeg", "image/jpeg", "text_prompt=red")


def question() -> Call:
    """What the fallback asks of SageMaker, under moto."""
    calls = []

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        calls.append(Call(model.name, endpoint=params["EndpointName"]))

    with mock_aws():
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-central-1"}
        runtime = boto3.client("sagemaker-runtime", **keys)
        runtime.meta.events.register("provide-client-params.*.*", note)
        SageMakerTransport("sam3edge-dev-endpoint", runtime).send(REQUEST, 5)
    [call] = calls
    return call


def test_a_device_may_ask_the_stages_own_real_time_endpoint(templates: Templates) -> None:
    role = exchange(templates, "dev")
    call = question()
    assert call == Call("InvokeEndpoint", endpoint="sam3edge-dev-endpoint")
    endpoint = "arn:aws:sagemaker:eu-central-1:111122223333:endpoint"
    assert role.allows("sagemaker:InvokeEndpoint", f"{endpoint}/{call.endpoint}")
    assert not role.allows("sagemaker:InvokeEndpoint", f"{endpoint}/another")
    assert not role.allows("sagemaker:InvokeEndpointAsync", f"{endpoint}/{call.endpoint}")


def test_credentials_of_a_device_reach_nothing_of_an_asynchronous_endpoint(templates: Templates) -> None:
    """It answers everybody below one prefix, and reads whatever its caller names."""
    role = exchange(templates, "prod")
    bucket = "arn:aws:s3:::sam3edge-prod-inference-444455556666-eu-central-1"
    endpoint = "arn:aws:sagemaker:eu-central-1:444455556666:endpoint/sam3edge-prod-endpoint"
    for action, resource in (
        ("sagemaker:InvokeEndpointAsync", endpoint),
        ("s3:ListBucket", bucket),
        ("s3:GetObject", f"{bucket}/async/responses/r.out"),
        ("s3:PutObject", f"{bucket}/uploads/f1"),
    ):
        assert not role.allows(action, resource, as_thing(OWN)), action


def test_a_device_writes_its_own_streams_of_the_log(templates: Templates) -> None:
    role = exchange(templates, "dev")
    group = (
        "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/greengrass/UserComponent/eu-central-1/com.sam3edge.Model"
    )
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        assert role.allows(action, f"{group}:log-stream:/2026/11/28/thing/{OWN}", as_thing(OWN))
        assert not role.allows(action, f"{group}:log-stream:/2026/11/28/thing/{OTHER}", as_thing(OWN))


@pytest.mark.parametrize("stage", STAGES)
def test_the_role_has_what_is_called_and_nothing_more(templates: Templates, stage: str) -> None:
    called = {call.name for call in uploader_calls()} | GREENGRASS_LOGS | {"s3:GetObject"}
    options = read_stage(stage)
    if options.fleet.endpoint_fallback == "allowed":
        called.add(f"sagemaker:{question().name}")
    assert exchange(templates, stage).actions() == called


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", f"{EXAMPLES}/hard-examples/{OWN}/2026/11/28/f1/frame.jpg"),
        ("s3:DeleteObject", f"{EXAMPLES}/hard-examples/{OWN}/2026/11/28/f1/frame.jpg"),
        ("s3:PutObject", f"{EXAMPLES}/hard-examples/{OTHER}/2026/11/28/f1/frame.jpg"),
        ("s3:ListBucket", EXAMPLES),
        (
            "s3:PutObject",
            "arn:aws:s3:::sam3edge-dev-artifacts-111122223333-eu-central-1/com.sam3edge.Model/9.9.9/b.zip",
        ),
        ("s3:GetObject", "arn:aws:s3:::sam3edge-dev-artifacts-111122223333-eu-central-1/other"),
        ("s3:GetObject", "arn:aws:s3:::sam3edge-dev-learning-111122223333-eu-central-1/datasets/x"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/x"),
        ("sagemaker:CreateEndpoint", "*"),
        ("sagemaker:InvokeEndpoint", "arn:aws:sagemaker:eu-central-1:111122223333:endpoint/another"),
        ("iot:Publish", f"{IOT}:topic/sam3edge/{OTHER}/commands"),
        ("iot:CreateThing", f"{IOT}:thing/x"),
        ("iot:AttachPolicy", f"{IOT}:cert/x"),
        ("greengrass:CreateDeployment", "*"),
        ("greengrass:CreateComponentVersion", "*"),
        ("iam:PassRole", "*"),
        ("sts:AssumeRole", "*"),
        ("dynamodb:PutItem", "arn:aws:dynamodb:eu-central-1:111122223333:table/sam3edge-dev-devices"),
        ("logs:PutLogEvents", "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/x:log-stream:y"),
    ],
)
def test_credentials_of_a_device_are_no_good_for(templates: Templates, stage: str, action: str, resource: str) -> None:
    assert not exchange(templates, stage).allows(action, resource, as_thing(OWN))
