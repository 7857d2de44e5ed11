"""AWS Lambda's entry points: ``sam3edge_pipeline.rollout.handlers.<name>`` for each function of the state machine,
``start`` for EventBridge, and ``observe`` for the devices' messages.

Clients are made here and nowhere else, with the first request of an execution environment.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3

from sam3edge_pipeline.environment import PATIENT, from_environment
from sam3edge_pipeline.rollout.canary import CanaryWatch
from sam3edge_pipeline.rollout.events import APPROVED, read_event
from sam3edge_pipeline.rollout.membership import Canaries
from sam3edge_pipeline.rollout.observations import Observation, ObservationError, read_observation
from sam3edge_pipeline.rollout.publish import Publisher
from sam3edge_pipeline.rollout.records import ObservationTable, Records
from sam3edge_pipeline.rollout.settings import RolloutSettings
from sam3edge_pipeline.rollout.steps import Rollout

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]


def read_settings() -> RolloutSettings:
    """From the environment; raises SettingsError that names every variable that is wrong."""
    return from_environment(RolloutSettings)


def assemble(settings: RolloutSettings, clock: Callable[[], float] = time.time) -> Rollout:
    """The tasks with AWS's clients; nothing is asked of AWS yet.

    Args:
        clock: seconds since 1970.
    """
    greengrass = boto3.client("greengrassv2", config=PATIENT)
    s3 = boto3.client("s3", config=PATIENT)
    tables = boto3.resource("dynamodb", config=PATIENT)
    watch = CanaryWatch(
        ObservationTable(tables.Table(settings.observations_table)),
        settings.rule(),
        settings.baseline_days * 86_400,
        settings.block_seconds,
        settings.max_observations,
        settings.max_bakes,
    )
    return Rollout(
        settings=settings,
        sagemaker=boto3.client("sagemaker", config=PATIENT),
        greengrass=greengrass,
        iot=boto3.client("iot", config=PATIENT),
        publisher=Publisher(greengrass, s3, settings.bucket, settings.canary_group_arn, Path(tempfile.gettempdir())),
        records=Records(tables.Table(settings.records_table)),
        watch=watch,
        clock=clock,
    )


@functools.cache
def _rollout() -> Rollout:
    return assemble(read_settings())


@functools.cache
def _canaries() -> Canaries:
    return Canaries(_rollout().greengrass, _rollout().settings.canary_group_arn, time.monotonic)


def start(event: Event, context: Any) -> dict[str, Any]:
    """EventBridge's target: start the roll-out of an approval, once.

    A person may invoke it with ``attempt`` beside the event's members, to try the same approval again.
    """
    approval = read_event(event)
    if approval.status != APPROVED:
        return {"started": False, "reason": f"the package is {approval.status}"}
    name = approval.execution_name(int(event.get("attempt", 1)))
    states = boto3.client("stepfunctions", config=PATIENT)
    try:
        states.start_execution(
            stateMachineArn=read_settings().state_machine_arn,
            name=name,
            input=json.dumps(approval.execution_input(), sort_keys=True),
        )
    except states.exceptions.ExecutionAlreadyExists:
        return {"started": False, "execution": name, "reason": "it was started before"}
    return {"started": True, "execution": name}


def observe(event: Event, context: Any) -> dict[str, Any]:
    """SQS's target: keep what the canaries' messages say; a queue between IoT Core and this loses nothing.

    One that cannot be kept now comes again.
    """
    canaries = _canaries()
    _rollout().watch.table.put(one for one in observations_in(event.get("Records", ())) if one.thing in canaries)
    return {"batchItemFailures": []}


def observations_in(records: Iterable[Mapping[str, Any]]) -> list[Observation]:
    """What the records of a queue say; one that is not a message of a device is logged and dropped."""
    found: list[Observation] = []
    for record in records:
        try:
            received = int(record["attributes"]["SentTimestamp"]) / 1000
            observation = read_observation(json.loads(record["body"]), received)
        except (ObservationError, ValueError) as error:
            logger.warning("dropped message %s: %s", record.get("messageId", ""), error)
            continue
        if observation is not None:
            found.append(observation)
    return found


def claim(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.claim``."""
    return _rollout().run("claim", event)


def check(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.check``."""
    return _rollout().run("check", event)


def publish(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.publish``."""
    return _rollout().run("publish", event)


def published(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.published``."""
    return _rollout().run("published", event)


def prepare(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.prepare``."""
    return _rollout().run("prepare", event)


def deploy(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.deploy``."""
    return _rollout().run("deploy", event)


def progress(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.progress``."""
    return _rollout().run("progress", event)


def judge(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.judge``."""
    return _rollout().run("judge", event)


def roll_back(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.roll_back``."""
    return _rollout().run("roll_back", event)


def rolled_back(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.rolled_back``."""
    return _rollout().run("rolled_back", event)


def record(event: Event, context: Any) -> dict[str, Any]:
    """See ``Rollout.record``."""
    return _rollout().run("record", event)
