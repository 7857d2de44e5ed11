"""The roll-out of the local run: AWS's own state machine, executed by moto, deploys to laptop devices.

Components, deployments and their jobs are in memory (``greengrass_cloud.py``); artifacts are in moto's S3, from which
devices get them. Days are short: frames of the run count as ``FRAME_SECONDS`` apart, and what a device said before the
roll-out as said a day before, so that the sample rule of the roll-out is judged as it is in production, on as many
frames as were really looked at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import yaml
from moto.events.models import EventPattern

from sam3edge_pipeline.registry.packages import Package
from sam3edge_pipeline.rollout import handlers
from sam3edge_pipeline.rollout.events import DETAIL_TYPE, SOURCE, event_pattern
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, Loop, Times, definition, to_text
from sam3edge_pipeline.rollout.steps import Rollout
from sam3edge_simulator.demo.receiver import Received
from sam3edge_simulator.deployment_document import ConfigurationUpdate, DeploymentFailed
from sam3edge_simulator.deployment_document import Deployment as OnDevice
from sam3edge_simulator.greengrass_cloud import ACCOUNT, Deployment, GreengrassCloud, function_arn, group_arn
from sam3edge_simulator.loop.cloud import BUCKET, LocalCloud
from sam3edge_simulator.loop.devices import Configuration, DeviceFailed, LaptopDevice

CANARY, FLEET = "canary", "fleet"
NUCLEUS = "aws.greengrass.Nucleus"

TIMES = Times(
    claim=Loop(1, 2), publish=Loop(1, 30), canary=Loop(2, 200), bake=Loop(1, 2), fleet=Loop(2, 90), back=Loop(2, 90)
)

DAY = 86_400.0
FRAME_SECONDS = 60.0
END_SECONDS = 900.0


@dataclass(slots=True)
class ShortDays:
    """A clock that is put forward by the frames that a canary has looked at.

    Attributes:
        start: of the roll-out, seconds since 1970.
    """

    start: float
    passed: float = 0.0

    def __call__(self) -> float:
        """The time, seconds since 1970."""
        return self.start + self.passed


@dataclass(slots=True)
class LocalRollout:
    """Devices by thing group, Greengrass, and the state machine.

    Attributes:
        build: folder of what devices download.
    """

    cloud: LocalCloud
    greengrass: GreengrassCloud
    devices: Mapping[str, LaptopDevice]
    rollout: Rollout
    clock: ShortDays
    machine: str
    build: Path
    failures: list[str] = field(default_factory=list)
    _next: tuple[str, Sequence[Path]] = ("", ())
    _carried: list[Future[None]] = field(default_factory=list)
    _workers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "deployments"))

    def publish(self, package: Package) -> dict[str, str]:
        """Component versions of a package's bundle and of this code, by name."""
        return {one.name: one.version for one in self.rollout.publisher.publish(package)}

    def deploy(self, group: str, versions: Mapping[str, str], configuration: Mapping[str, Configuration]) -> None:
        """A deployment by hand, of the components that are configured.

        Raises:
            DeviceFailed: it could not be carried out.
        """
        components: dict[str, Any] = {NUCLEUS: {"componentVersion": self.rollout.settings.nucleus_version}}
        for name, merge in configuration.items():
            update = {"merge": json.dumps(merge)}
            components[name] = {"componentVersion": versions[name], "configurationUpdate": update}
        client = boto3.client("greengrassv2")
        client.create_deployment(targetArn=group_arn(group), deploymentName="by hand", components=components)
        self._carried[-1].result()
        made = self.greengrass.deployments[-1]
        if made.counts.get("Failed"):
            raise DeviceFailed(f"{group}: {self.failures[-1]}")

    def hear(self, frames: Mapping[str, Received], start: float) -> float:
        """A device's messages arrive at the queue, those of the first frame at ``start``; seconds that they cover.

        How long frames took is left out: devices share this computer with everything else that the run does.
        """
        records = []
        for number, received in enumerate(frames.values()):
            at = datetime.fromtimestamp(start + number * FRAME_SECONDS, timezone.utc).isoformat(timespec="milliseconds")
            records += [{"body": json.dumps({**body, "time": at, "timing": {}})} for body in received.parts.values()]
        self.rollout.watch.table.put(handlers.observations_in(records))
        return len(frames) * FRAME_SECONDS

    def roll_out(self, package: Package, scenes: Sequence[Path]) -> dict[str, Any]:
        """What happens when a package was approved, to its end; what was recorded of it.

        Args:
            scenes: what the canary looks at when it has the new model.

        Raises:
            DeviceFailed: it does not end.
        """
        event: Any = approval_event(package.arn, "Approved")
        pattern = EventPattern.load(json.dumps(event_pattern(package.group)))
        if not pattern.matches_event(event):
            raise DeviceFailed(f"the rule of EventBridge does not select {event}")
        self._next = package.digest, scenes
        name = handlers.start(event, None)["execution"]
        states = boto3.client("stepfunctions")
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}"
        deadline = time.monotonic() + END_SECONDS
        while states.describe_execution(executionArn=arn)["status"] == "RUNNING":
            if time.monotonic() > deadline:
                raise DeviceFailed(f"the roll-out has not ended after {END_SECONDS:g} s")
            time.sleep(0.5)
        for one in self._carried:
            one.result()
        outcome = self.rollout.records.outcome(name)
        if outcome is None:
            raise DeviceFailed(f"the roll-out {name} recorded no outcome")
        return outcome

    def close(self) -> None:
        """Wait for the deployment that is being carried out."""
        self._workers.shutdown()

    def carry_out(self, deployment: Deployment) -> None:
        """Begin a deployment on the device of its target, as its nucleus does when it hears of the job."""
        deployment.counts = {"InProgress": 1}
        self._carried.append(self._workers.submit(self._carry_out, deployment))

    def _carry_out(self, deployment: Deployment) -> None:
        group = deployment.request["targetArn"].rpartition("/")[2]
        device = self.devices[group]
        try:
            device.deploy(self._on_device(deployment.request["components"]))
            if deployment.request["deploymentName"].endswith(f"-to-{CANARY}"):
                self._a_day_on(device)
        except (DeviceFailed, DeploymentFailed) as error:
            self.failures.append(str(error))
            deployment.counts = {"Failed": 1}
            return
        deployment.counts = {"Succeeded": 1}

    def _a_day_on(self, device: LaptopDevice) -> None:
        """The canary looks at what comes past, with the new model."""
        digest, scenes = self._next
        device.wait_for_model(digest)
        self.clock.passed += self.hear(device.look_at(scenes, "after"), self.clock())

    def _on_device(self, components: Mapping[str, Mapping[str, Any]]) -> OnDevice:
        """A deployment as a device gets it: recipes from Greengrass, artifacts from S3."""
        ours = {name: one for name, one in components.items() if name != NUCLEUS}
        s3 = self.cloud.client("s3")
        for name, one in ours.items():
            version = one["componentVersion"]
            recipe = self.build / "recipes" / f"{name}-{version}.yaml"
            recipe.parent.mkdir(parents=True, exist_ok=True)
            known = self.greengrass.recipe(name, version)
            recipe.write_text(yaml.safe_dump(known, sort_keys=False), encoding="utf-8")
            artifacts = self.build / "artifacts" / name / version
            artifacts.mkdir(parents=True, exist_ok=True)
            for listed in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}/{version}/")["Contents"]:
                s3.download_file(BUCKET, listed["Key"], str(artifacts / listed["Key"].rpartition("/")[2]))
        updates = {name: one.get("configurationUpdate", {}) for name, one in ours.items()}
        return OnDevice(
            add={name: one["componentVersion"] for name, one in ours.items()},
            exclusive=True,
            configuration={
                name: ConfigurationUpdate(json.loads(one.get("merge") or "{}"), tuple(one.get("reset", ())))
                for name, one in updates.items()
            },
            recipes=self.build / "recipes",
            artifacts=self.build / "artifacts",
        )


@contextmanager
def local_rollout(
    cloud: LocalCloud, devices: Mapping[str, LaptopDevice], out: Path, frames: int
) -> Iterator[LocalRollout]:
    """The tables, the state machine and its functions, for one device in each thing group.

    Args:
        frames: that a canary must have looked at under both models to be judged.
        out: folder of what devices download.
    """
    machine = f"arn:aws:states:{cloud.region}:{ACCOUNT}:stateMachine:rollout"
    settings = {
        "STATE_MACHINE_ARN": machine,
        "CANARY_GROUP_ARN": group_arn(CANARY),
        "FLEET_GROUP_ARN": group_arn(FLEET),
        "NUCLEUS_VERSION": "2.18.1",
        "BUCKET": BUCKET,
        "RECORDS_TABLE": "records",
        "OBSERVATIONS_TABLE": "observations",
        "MIN_FRAMES": frames,
        "MIN_BAKES": 1,
        "MAX_BAKES": TIMES.bake.rounds,
        "BASELINE_DAYS": 1,
    }
    environment = {f"SAM3EDGE_ROLLOUT_{name}": str(value) for name, value in settings.items()}
    greengrass = GreengrassCloud({group: {device.thing: "HEALTHY"} for group, device in devices.items()})
    with mock.patch.dict(os.environ, {**cloud.environment, **environment}), greengrass.patched():
        make_tables()
        clock = ShortDays(float(int(time.time())))  # messages tell milliseconds
        rollout = handlers.assemble(handlers.read_settings(), clock)
        for name in FUNCTIONS:
            greengrass.functions[function_arn(name)] = _function(rollout, name)
        make_machine(TIMES)
        local = LocalRollout(cloud, greengrass, devices, rollout, clock, machine, out)
        greengrass.carry_out = local.carry_out
        try:
            yield local
        finally:
            local.close()


def make_machine(times: Times) -> str:
    """The state machine ``rollout``, in the account that the environment names; its ARN."""
    made = boto3.client("stepfunctions").create_state_machine(
        name="rollout",
        definition=to_text(definition({name: function_arn(name) for name in FUNCTIONS}, times)),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/rollout",
    )
    return str(made["stateMachineArn"])


def make_tables() -> None:
    """The two tables of ``records.py``, in the account that the environment names."""
    dynamodb = boto3.client("dynamodb")
    for name, keys in (("records", ["id"]), ("observations", ["thing", "at"])):
        dynamodb.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )


def _function(rollout: Rollout, task: str) -> Callable[[Mapping[str, Any], Any], Any]:
    return lambda event, context: rollout.run(task, event)


def approval_event(arn: str, status: str, changed: Sequence[str] | None = ("ModelApprovalStatus",)) -> dict[str, Any]:
    """An event as SageMaker sends it when a package's status is set.

    Args:
        arn: of the model package.
        changed: members that were; None where the package was made as it is.
    """
    group, version = arn.rpartition(":model-package/")[2].split("/")
    detail: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageVersion": int(version),
        "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": status,
    }
    if changed is not None:
        detail["UpdatedModelPackageFields"] = list(changed)
    return {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": DETAIL_TYPE,
        "source": SOURCE,
        "account": ACCOUNT,
        "region": arn.split(":")[3],
        "resources": [arn],
        "detail": detail,
    }
