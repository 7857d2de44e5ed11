"""A roll-out in memory: moto executes the state machine, its functions are the real handlers, Greengrass is a fake."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from sam3edge.bundle.manifest import Manifest, read_manifest, write_manifest
from sam3edge_pipeline.registry.packages import Package, ensure_group, register
from sam3edge_pipeline.registry.release import Lineage, Release
from sam3edge_pipeline.rollout import handlers
from sam3edge_pipeline.rollout.membership import Canaries
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, Loop, Times
from sam3edge_pipeline.rollout.steps import Rollout
from sam3edge_simulator.greengrass_cloud import ACCOUNT, REGION, Deployment, GreengrassCloud, function_arn, group_arn
from sam3edge_simulator.loop.rollout import approval_event, make_machine, make_tables
from support.canaries import as_record, canary_messages
from support.light_bundle import without_weights

GROUP = "sam3edge"
BUCKET = "models"
STARTED = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
CANARY, FLEET = group_arn("canaries"), group_arn("fleet")
MODEL, SEGMENTER, UPLOADER = "com.sam3edge.Model", "com.sam3edge.Segmenter", "com.sam3edge.Uploader"
FIRST = {MODEL: "0.9.0", SEGMENTER: "0.0.1"}
"""What was deployed by hand before any roll-out."""

QUICK = Times(*(Loop(0, rounds) for rounds in (2, 3, 3, 4, 3, 3)))
FRAMES, EVERY_S = 360, 40.0
"""Frames of a camera in four hours."""


@dataclass
class Clock:
    """A clock that is set."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """Everything of one roll-out."""

    cloud: GreengrassCloud
    rollout: Rollout
    clock: Clock
    sagemaker: Any
    s3: Any
    states: Any
    machine: str
    demo: Path
    work: Path

    def released(self, version: str) -> Package:
        """A bundle of that version, uploaded and registered, for approval."""
        bundle = shutil.copytree(self.demo, self.work / f"bundle-{version}")
        write_manifest(bundle, read_manifest(bundle).model_copy(update={"version": version}))
        prefix = f"bundles/{version}/"
        for path in (one for one in bundle.rglob("*") if one.is_file()):
            self.s3.upload_file(str(path), BUCKET, prefix + path.relative_to(bundle).as_posix())
        return register(self.sagemaker, GROUP, release(read_manifest(bundle), f"s3://{BUCKET}/{prefix}")).package

    def decide(self, package: Package, status: str) -> dict[str, Any]:
        """Approve or reject a package; the event that SageMaker sends."""
        known = self.sagemaker.describe_model_package(ModelPackageName=package.arn)["CustomerMetadataProperties"]
        self.sagemaker.update_model_package(
            ModelPackageArn=package.arn,
            ModelApprovalStatus=status,
            CustomerMetadataProperties=known,  # which moto forgets unless they are repeated
        )
        return approval_event(package.arn, status)

    def hears(self, start: datetime, finds: float, digest: str, frames: int = FRAMES, seed: int = 7) -> None:
        """A canary's messages arrive, some of them twice, as SQS has them."""
        bodies = _bodies(start, frames, finds, digest, seed)
        records = [as_record(body, str(i)) for i, body in enumerate((*bodies, *bodies[:50]))]
        assert handlers.observe({"Records": records}, None) == {"batchItemFailures": []}

    def run(self, approved: Mapping[str, Any]) -> dict[str, Any]:
        """Start the roll-out of an event and wait for its end; the description of the execution."""
        started = handlers.start(approved, None)
        return self.wait(started["execution"])

    def wait(self, name: str) -> dict[str, Any]:
        """Wait for an execution's end."""
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            described: dict[str, Any] = self.states.describe_execution(executionArn=arn)
            if described["status"] != "RUNNING":
                return described
            time.sleep(0.1)  # asking costs as much as a step
        raise AssertionError(f"{name} did not end: {self.path(name)[-5:]}")

    def path(self, name: str) -> list[str]:
        """States that an execution entered."""
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"
        events = self.states.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return [one["stateEnteredEventDetails"]["name"] for one in events if "stateEnteredEventDetails" in one]

    def deployed(self, target: str) -> list[Deployment]:
        """Deployments to a thing group, the one by hand first."""
        return [one for one in self.cloud.deployments if one.request["targetArn"] == target]

    def outcome(self, name: str) -> dict[str, Any]:
        """What was recorded of an execution."""
        found = self.rollout.records.outcome(name)
        assert found is not None
        return found


def release(manifest: Manifest, uri: str, **changes: Any) -> Release:
    """A release of a bundle."""
    lineage = Lineage("sha256:" + "d" * 64, "sha256:" + manifest.source_sha256, "0123abc", "arn:aws:sagemaker:x/exec")
    values: dict[str, Any] = {
        "manifest": manifest,
        "bundle_uri": uri,
        "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/sam3edge:1",
        "evaluation": f"s3://{BUCKET}/reports/evaluation.json",
        "parity": f"s3://{BUCKET}/reports/parity.json",
        "lineage": lineage,
        "created_at": "2026-03-01T00:00:00Z",
        "metrics": {"f1": 0.9},
        **changes,
    }
    return Release(**values)


@functools.cache
def _bodies(start: datetime, frames: int, finds: float, digest: str, seed: int) -> tuple[dict[str, Any], ...]:
    return tuple(canary_messages(start, frames, EVERY_S, finds, digest, seed))


@contextmanager
def rollout_rig(
    monkeypatch: pytest.MonkeyPatch, demo: Path, work: Path, times: Times = QUICK, **settings: object
) -> Iterator[Rig]:
    """A rig whose canaries and fleet run what was deployed by hand."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:rollout"
    values = {
        "STATE_MACHINE_ARN": machine,
        "CANARY_GROUP_ARN": CANARY,
        "FLEET_GROUP_ARN": FLEET,
        "NUCLEUS_VERSION": "2.18.1",
        "BUCKET": BUCKET,
        "RECORDS_TABLE": "records",
        "OBSERVATIONS_TABLE": "observations",
        "MIN_BAKES": 2,
        "MAX_BAKES": times.bake.rounds,
        **settings,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"SAM3EDGE_ROLLOUT_{name}", str(value))
    cloud = GreengrassCloud(
        {"canaries": {"line-7": "HEALTHY"}, "fleet": {f"line-{i}": "HEALTHY" for i in range(20, 30)}}
    )
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}), cloud.patched():
        rig = _rig(cloud, without_weights(demo, work / "light"), work, times)
        rollout = rig.rollout
        monkeypatch.setattr(handlers, "_rollout", lambda: rollout)
        canaries = Canaries(rollout.greengrass, CANARY, rig.clock)
        monkeypatch.setattr(handlers, "_canaries", lambda: canaries)
        yield rig


def _rig(cloud: GreengrassCloud, demo: Path, work: Path, times: Times) -> Rig:
    make_tables()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    sagemaker = boto3.client("sagemaker")
    ensure_group(sagemaker, GROUP)
    clock = Clock(STARTED.timestamp())
    rollout = handlers.assemble(handlers.read_settings(), clock)
    for name in FUNCTIONS:
        cloud.functions[function_arn(name)] = getattr(handlers, name)
    states = boto3.client("stepfunctions")
    machine = make_machine(times)
    greengrass = boto3.client("greengrassv2")
    for target in (CANARY, FLEET):
        components = {name: {"componentVersion": version} for name, version in FIRST.items()}
        components[SEGMENTER]["configurationUpdate"] = {"merge": json.dumps({"Prompts": ["scratch", "dent"]})}  # type: ignore[assignment]
        components["aws.greengrass.Nucleus"] = {"componentVersion": "2.17.0"}
        greengrass.create_deployment(targetArn=target, deploymentName="by hand", components=components)
    cloud.calls.clear()
    return Rig(cloud, rollout, clock, sagemaker, s3, states, machine, demo, work)


def after_canary(rig: Rig, act: Callable[[Deployment], None]) -> Callable[[Deployment], None]:
    """Acts when the canary gets its deployment, four hours before it is judged."""

    def carry_out(deployment: Deployment) -> None:
        if deployment.request["targetArn"] == CANARY and deployment.request["deploymentName"].endswith("-to-canary"):
            act(deployment)
            rig.clock.now = STARTED.timestamp() + 4 * 3600

    return carry_out
