"""Roles may do what their code does, and little else.

The code is run against fakes, and its calls are compared with the policies of the templates.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import botocore.client
import pytest
from botocore.response import StreamingBody
from moto import mock_aws

import sam3edge_pipeline.definition
from sam3edge.bundle.manifest import read_manifest
from sam3edge.core.errors import Sam3EdgeError
from sam3edge_pipeline.labeling import handlers as labeling_handlers
from sam3edge_pipeline.labeling.steps import Step
from sam3edge_pipeline.registry.packages import ensure_group, register
from sam3edge_pipeline.retraining import handlers as retraining_handlers
from sam3edge_pipeline.rollout import handlers as rollout_handlers
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS
from sam3edge_serving.api.application import Application
from sam3edge_serving.api.keys import DynamoKeys, new_key
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings
from sam3edge_serving.live_map.authorizer import AuthorizerSettings as PageSettings
from sam3edge_serving.live_map.authorizer import authorize
from sam3edge_serving.live_map.tokens import SecretTokens, new_token
from sam3edge_simulator.api_gateway.__main__ import make_gateway
from sam3edge_simulator.api_gateway.events import HttpRequest
from sam3edge_simulator.greengrass_cloud import function_arn
from support.api_rig import GEOJSON, PNG
from support.canaries import OLD
from support.iam import Policy, Request, function_policies, policy_of, role_policy
from support.infra_templates import Templates
from support.labeling_cloud import labeling_cloud
from support.recorded_calls import Recorder, readable, renamed
from support.rollout_rig import STARTED, after_canary, release, rollout_rig

PLACE, HERE = "eu-central-1:111122223333", "eu-west-1:123456789012"
ARTIFACTS = "sam3edge-dev-artifacts-111122223333-eu-central-1"
LEARNING = "sam3edge-dev-learning-111122223333-eu-central-1"

IMPLIED = {
    "dynamodb:GetItem": "powertools reads a record that a refused write did not bring along",
    "logs:CreateLogStream": "Lambda writes the log as the function",
    "logs:PutLogEvents": "Lambda writes the log as the function",
    "sqs:ReceiveMessage": "Lambda reads the queue as the function",
    "sqs:DeleteMessage": "Lambda reads the queue as the function",
    "sqs:GetQueueAttributes": "Lambda reads the queue as the function",
    "s3:AbortMultipartUpload": "an upload of many parts that fails is given up",
    "greengrass:TagResource": "a component version is made with a tag",
    "iot:DescribeJob": "Greengrass describes a deployment by its job as whoever asks",
    "iot:DescribeThingGroup": "Greengrass describes a deployment by its group as whoever asks",
    "iot:CreateJob": "Greengrass makes a deployment's job as whoever deploys",
    "iot:CancelJob": "Greengrass cancels the job of the deployment before as whoever deploys",
    "iot:UpdateJob": "Greengrass changes the job of the deployment before as whoever deploys",
}
"""Actions that no code here calls, each with who does."""

FORBIDDEN = [
    Request("iam:CreateRole", "arn:aws:iam::111122223333:role/x"),
    Request("iam:PassRole", "arn:aws:iam::111122223333:role/admin", {"iam:PassedToService": "sagemaker.amazonaws.com"}),
    Request("sts:AssumeRole", "arn:aws:iam::111122223333:role/admin"),
    Request("sagemaker:UpdateModelPackage", f"arn:aws:sagemaker:{PLACE}:model-package/sam3edge-dev-models/1"),
    Request("sagemaker:DeleteModelPackage", f"arn:aws:sagemaker:{PLACE}:model-package/sam3edge-dev-models/1"),
    Request("sagemaker:DescribeModelPackage", f"arn:aws:sagemaker:{PLACE}:model-package/sam3edge-prod-models/1"),
    Request("sagemaker:InvokeEndpoint", f"arn:aws:sagemaker:{PLACE}:endpoint/somebody-elses"),
    Request("s3:DeleteObject", f"arn:aws:s3:::{ARTIFACTS}/com.sam3edge.Model/1.0.0/bundle.zip"),
    Request("s3:DeleteObject", f"arn:aws:s3:::{LEARNING}/datasets/yard/1/manifest.json"),
    Request("s3:PutBucketPolicy", f"arn:aws:s3:::{LEARNING}"),
    Request("s3:GetObject", "arn:aws:s3:::somebody-elses/key"),
    Request("s3:PutObject", "arn:aws:s3:::sam3edge-dev-examples-111122223333-eu-central-1/hard-examples/x"),
    Request("dynamodb:DeleteTable", f"arn:aws:dynamodb:{PLACE}:table/sam3edge-dev-rollout-records"),
    Request("dynamodb:Scan", f"arn:aws:dynamodb:{PLACE}:table/sam3edge-dev-api-keys"),
    Request("dynamodb:PutItem", f"arn:aws:dynamodb:{PLACE}:table/sam3edge-dev-api-keys"),
    Request("greengrass:DeleteComponent", f"arn:aws:greengrass:{PLACE}:components:com.sam3edge.Model:versions:1.0.0"),
    Request(
        "greengrass:CreateComponentVersion", f"arn:aws:greengrass:{PLACE}:components:com.example.Other:versions:1.0.0"
    ),
    Request("greengrass:DeleteCoreDevice", f"arn:aws:greengrass:{PLACE}:coreDevices:line-7"),
    Request("iot:CreateJob", f"arn:aws:iot:{PLACE}:thinggroup/somebody-elses"),
    Request("iot:Publish", f"arn:aws:iot:{PLACE}:topic/sam3edge/line-7/commands"),
    Request("iot:UpdateCertificate", f"arn:aws:iot:{PLACE}:cert/ab"),
    Request("lambda:UpdateFunctionCode", f"arn:aws:lambda:{PLACE}:function:sam3edge-dev-rollout-judge"),
    Request("states:StopExecution", f"arn:aws:states:{PLACE}:execution:sam3edge-dev-rollout:x"),
    Request("states:StartExecution", f"arn:aws:states:{PLACE}:stateMachine:somebody-elses"),
    Request("logs:DeleteLogGroup", f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/sam3edge-dev-api"),
    Request("ec2:RunInstances", f"arn:aws:ec2:{PLACE}:instance/i-1"),
    Request("kms:Decrypt", f"arn:aws:kms:{PLACE}:key/x"),
    Request("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{PLACE}:secret:x"),
]
"""What no function may do."""


def functions(templates: Templates, stage: str, stack: str) -> dict[str, Policy]:
    """Policies by the names of functions, without the stage's part."""
    found = function_policies(templates.stages[stage][stack])
    return {name.removeprefix(f"sam3edge-{stage}-"): policy for name, policy in found}


def compare(policies: dict[str, Policy], calls: dict[str, list[Request]]) -> None:
    """What is called is allowed; what is allowed is called, here or by who ``IMPLIED`` names."""
    assert policies.keys() == calls.keys()
    for name, policy in policies.items():
        refused = [one for one in calls[name] if not policy.lets(one)]
        assert not refused, f"{name} may not do what it does: {readable(refused)}"
        idle = policy.actions() - {one.action for one in calls[name]} - IMPLIED.keys()
        assert not idle, f"{name} may do what it does not: {sorted(idle)}"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_rollouts_functions_may_do_what_they_do(
    templates: Templates, monkeypatch: pytest.MonkeyPatch, demo_bundle: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    with rollout_rig(monkeypatch, demo_bundle, tmp_path) as rig, recorder.recording():
        for task in FUNCTIONS:
            rig.cloud.functions[function_arn(task)] = recorder.as_one(task, getattr(rollout_handlers, task))
        monkeypatch.setattr(rollout_handlers, "start", recorder.as_one("start", rollout_handlers.start))
        monkeypatch.setattr(rollout_handlers, "observe", recorder.as_one("observe", rollout_handlers.observe))
        rig.hears(STARTED - timedelta(days=1), 1.0, OLD)
        good = rig.released("1.1.0")
        rig.cloud.carry_out = after_canary(rig, lambda _: rig.hears(STARTED, 1.0, good.digest, seed=8))
        ended = rig.run(rig.decide(good, "Approved"))
        assert ended["status"] == "SUCCEEDED", (ended, rig.path(ended["name"]))
        worse = rig.released("1.2.0")
        rig.cloud.carry_out = lambda deployment: deployment.counts.update(failed=1, succeeded=0)
        assert rig.run(rig.decide(worse, "Approved"))["status"] == "FAILED"
    names = {
        "thinggroup/canaries": "thinggroup/sam3edge-dev-canary",
        "thinggroup/fleet": "thinggroup/sam3edge-dev-fleet",
        "table/records": "table/sam3edge-dev-rollout-records",
        "table/observations": "table/sam3edge-dev-rollout-observations",
        "arn:aws:s3:::models/bundles/": f"arn:aws:s3:::{LEARNING}/bundles/",
        "arn:aws:s3:::models": f"arn:aws:s3:::{ARTIFACTS}",
        "model-package/sam3edge/": "model-package/sam3edge-dev-models/",
        "stateMachine:rollout": "stateMachine:sam3edge-dev-rollout",
        HERE: PLACE,
    }
    calls = {f"rollout-{task.replace('_', '-')}": renamed(found, names) for task, found in recorder.calls.items()}
    compare(functions(templates, "dev", "rollout"), calls)


def environment(templates: Templates, stage: str, stack: str) -> dict[str, str]:
    """What the functions of a stack are told."""
    told: dict[str, str] = {}
    for one in templates.resources(stage, stack, "AWS::Lambda::Function").values():
        told |= one["Environment"]["Variables"]
    return told


def test_the_functions_of_labeling_and_retraining_may_do_what_they_do(
    templates: Templates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorder = Recorder()
    told = environment(templates, "dev", "labeling") | environment(templates, "dev", "training")
    kept = Path(sam3edge_pipeline.definition.__file__).with_name("pipeline.json").read_text()
    with labeling_cloud(monkeypatch, tmp_path / "work", told) as cloud, recorder.recording():
        boto3.client("sagemaker").create_pipeline(
            PipelineName=told["SAM3EDGE_RETRAINING_PIPELINE"],
            PipelineDefinition=kept,
            RoleArn="arn:aws:iam::123456789012:role/any",
            ClientRequestToken="t" * 32,
        )
        wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
        machine = boto3.client("stepfunctions").create_state_machine(
            name="sam3edge-dev-labeling", definition=json.dumps(wait), roleArn="arn:aws:iam::123456789012:role/any"
        )
        monkeypatch.setenv("SAM3EDGE_RETRAINING_MACHINE_ARN", machine["stateMachineArn"])
        cloud.upload("f1", 1.0)
        for backend in ("review", "files"):
            job = f"yard-{backend}"
            events: dict[Step, dict[str, Any]] = {
                "check": {"maximum": 10},
                "start": {"backend": backend},
                "status": {"backend": backend},
                "verify": {"backend": backend, "minimum_share": 1.0},
                "store": {"backend": backend, "dataset": "yard", "version": "2", "parent": ""},
            }
            if backend == "files":
                labels = {"images": [], "annotations": [], "categories": []}
                key = f"labeling/labels/{job}.json"
                cloud.s3.put_object(Bucket=cloud.learning, Key=key, Body=json.dumps(labels).encode())
            for step, event in events.items():
                # nobody has labeled: verify and store say so when they have read everything
                with recorder.acting(f"labeling-{step}"), contextlib.suppress(Sam3EdgeError):
                    getattr(labeling_handlers, step)({"job": job, **event}, None)
        with recorder.acting("retrain-label"):
            assert not retraining_handlers.label({"time": "2026-03-02T07:00:00Z", "minimum": 1}, None)["started"]
            retraining_handlers.label({"time": "2026-03-02T08:00:00Z"}, None)
        stored = {"version": "1", "digest": "sha256:ab"}
        detail = {"executionArn": "arn", "status": "SUCCEEDED", "output": json.dumps(stored)}
        with recorder.acting("retrain-train"):
            retraining_handlers.train({"detail": detail}, None)
    calls = {name: renamed(found, {"eu-central-1:123456789012": PLACE}) for name, found in recorder.calls.items()}
    policies = functions(templates, "dev", "labeling") | functions(templates, "dev", "training")
    # the steps share what they may do: each reads and writes the files of its job
    calls["labeling-status"] += calls["labeling-start"]
    for name in ("labeling-verify", "labeling-store"):
        calls[name] += calls["labeling-status"]
    calls["labeling-start"] += calls["labeling-check"]
    compare(policies, calls)


@contextlib.contextmanager
def answering(message: str) -> Iterator[None]:
    """Endpoints respond with that message; moto reads images as text."""
    real = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
        if operation != "InvokeEndpoint":
            return real(client, operation, params)
        body = StreamingBody(io.BytesIO(message.encode()), len(message.encode()))
        return {"Body": body, "ContentType": "application/json", "ResponseMetadata": {"HTTPStatusCode": 200}}

    with mock.patch.object(botocore.client.BaseClient, "_make_api_call", call):
        yield


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_apis_functions_may_do_what_they_do(
    templates: Templates, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    told = environment(templates, stage, "api")
    table = told.pop("SAM3EDGE_API_KEY_TABLE")
    settings = read_settings(Settings, told)
    recorder = Recorder()
    with mock_aws():
        s3, dynamodb = boto3.client("s3"), boto3.resource("dynamodb")
        place = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(Bucket=settings.bucket, CreateBucketConfiguration=place)
        for name in (settings.idempotency_table, table):
            dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        keys = DynamoKeys(dynamodb.Table(table))
        key, record = new_key("ada")
        keys.add(record)
        monkeypatch.setattr(keys, "find", recorder.as_one("api-authorizer", keys.find))
        gateway = make_gateway(Application(assemble(settings)), keys)

        def post(path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
            sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
            with recorder.acting("api"):
                request = HttpRequest("POST", path, list(sent.items()), json.dumps(body).encode(), "127.0.0.1")
                reply = gateway.answer(request)
            document: dict[str, Any] = json.loads(reply.body)
            return document

        with answering(GEOJSON), recorder.recording():
            image = base64.b64encode(PNG).decode()
            asked = {"image": image, "text_prompt": "car"}
            said = [post("/v1/detections", asked, **{"Idempotency-Key": one}) for one in ("first", "second", "first")]
            with answering("no message"):  # of a request that fails nothing is remembered
                assert "error" in post("/v1/detections", asked, **{"Idempotency-Key": "failing"})
            if settings.async_endpoint:
                offer = post("/v1/uploads", {"content_type": "image/png"})
                signed = f"arn:aws:s3:::{settings.bucket}/{offer['fields']['key']}"
                recorder.calls["api"].append(Request("s3:PutObject", signed))
                s3.put_object(Bucket=settings.bucket, Key=offer["fields"]["key"], Body=PNG, ContentType="image/png")
                upload = {"upload": offer["id"], "text_prompt": "car"}
                started, again = (post("/v1/detections", upload, **{"Idempotency-Key": "third"}) for _ in range(2))
                assert started == again
                recorder.calls["api"].append(
                    Request("s3:GetObject", f"arn:aws:s3:::{settings.bucket}/async/responses/x.out")
                )
                assert started["status"] == "queued"
            else:
                first, _, repeated = said
                assert first == repeated
                assert first.get("type") == "FeatureCollection", first
    account = "111122223333" if stage == "dev" else "444455556666"
    names = {"eu-central-1:123456789012": f"eu-central-1:{account}"}
    calls = {name: renamed(found, names) for name, found in recorder.calls.items()}
    policies = functions(templates, stage, "api")
    if stage == "dev":  # without uploads the bucket has long remembered answers only, which need a model that answers
        bucket = f"arn:aws:s3:::{settings.bucket}"
        answer = f"{bucket}/answers/{record.id}/digest"
        calls["api"] += [Request("s3:PutObject", answer), Request("s3:GetObject", answer)]
        calls["api"].append(Request("s3:ListBucket", bucket))
    else:
        calls["api"].append(Request("s3:ListBucket", f"arn:aws:s3:::{settings.bucket}"))
    compare(policies, calls)


def test_the_job_that_registers_may_do_what_it_does(
    templates: Templates, monkeypatch: pytest.MonkeyPatch, demo_bundle: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    recorder = Recorder()
    with mock_aws(), recorder.recording():
        sagemaker = boto3.client("sagemaker")
        ensure_group(sagemaker, "sam3edge-dev-models")
        with recorder.acting("job"):
            ensure_group(sagemaker, "sam3edge-dev-models")
            uri = f"s3://{LEARNING}/pipeline/execution/export/bundle/demo/"
            register(sagemaker, "sam3edge-dev-models", release(read_manifest(demo_bundle), uri))
            register(sagemaker, "sam3edge-dev-models", release(read_manifest(demo_bundle), uri))
    template = templates.stages["dev"]["training"]
    [role] = [
        name
        for name, one in template["Resources"].items()
        if one.get("Properties", {}).get("RoleName") == "sam3edge-dev-training-jobs"
    ]
    policy = role_policy(template, role)
    calls = renamed(recorder.calls["job"], {"eu-central-1:123456789012": PLACE})
    assert not [one for one in calls if not policy.lets(one)], readable(calls)
    assert {one.action for one in calls} >= {"sagemaker:CreateModelPackage", "sagemaker:ListModelPackages"}
    pipeline = f"arn:aws:s3:::{LEARNING}/pipeline/execution/export/bundle/demo/manifest.json"
    assert policy.allows("s3:PutObject", pipeline)
    assert policy.allows("s3:GetObject", f"arn:aws:s3:::{LEARNING}/datasets/yard/1/manifest.json")
    forbidden = [
        *(one for one in FORBIDDEN if one.action != "sagemaker:DescribeModelPackage"),
        Request("s3:PutObject", f"arn:aws:s3:::{LEARNING}/datasets/yard/1/manifest.json"),
    ]
    assert not [one for one in forbidden if policy.lets(one)]


def test_the_live_pages_authorizer_may_do_what_it_does(templates: Templates, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    recorder = Recorder()
    told = environment(templates, "sim", "page")
    with mock_aws(), recorder.recording():
        client = boto3.client("secretsmanager")
        arn = client.create_secret(Name="sam3edge-sim-page-tokens")["ARN"]
        assert told.pop("SAM3EDGE_PAGE_SECRET") == {"Ref": "Tokens"}
        settings = read_settings(PageSettings, told | {"SAM3EDGE_PAGE_SECRET": arn})
        store = SecretTokens(client, settings.secret, time.monotonic)
        secret, record = new_token("ada", int(time.time()) + 3600)
        store.write({record.id: record})
        mqtt = {"clientId": "sam3edge-page-1", "password": base64.b64encode(secret.encode()).decode()}
        event = {"token": record.id, "signatureVerified": True, "protocolData": {"mqtt": mqtt}}
        with recorder.acting("page-authorizer"):
            answer = authorize(event, store, settings, f"arn:aws:iot:{PLACE}", time.time())
    calls = {name: renamed(found, {arn: "<Tokens>"}) for name, found in recorder.calls.items()}
    compare(functions(templates, "sim", "page"), calls)
    page = policy_of(*answer["policyDocuments"])
    device = f"arn:aws:iot:{PLACE}:topic/sam3edge/sam3edge-sim-simulator"
    assert page.allows("iot:Receive", f"{device}/detections")
    assert not page.allows("iot:Publish", f"{device}/commands")  # sim says: commands: denied
    assert not [one for one in FORBIDDEN if page.lets(one)]


def test_no_function_may_do_what_is_forbidden(templates: Templates) -> None:
    seen = 0
    for stage, stacks in templates.stages.items():
        for stack in stacks:
            for name, policy in functions(templates, stage, stack).items():
                seen += 1
                allowed = [one for one in FORBIDDEN if policy.lets(one)]
                assert not allowed, f"{stage}: {name} may {readable(allowed)}"
    assert seen > 70
