"""AWS Lambda's entry points: ``label`` for schedules, ``train`` for the end of a labeling execution."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import boto3

from sam3edge_pipeline.environment import PATIENT, from_environment
from sam3edge_pipeline.retraining.settings import RetrainingSettings
from sam3edge_pipeline.retraining.uploads import uploads_since
from sam3edge_pipeline.retraining.versions import latest_version

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]


def read_settings() -> RetrainingSettings:
    """From the environment; raises SettingsError that names every variable that is wrong."""
    return from_environment(RetrainingSettings)


def label(event: Event, context: Any) -> dict[str, Any]:
    """EventBridge's target: start the labeling of what has come in, unless labeling is in progress.

    Whether there is enough to be labeled, the workflow itself decides. A rule that comes every hour says how many new
    examples are worth asking it: those since it was asked last, whatever came of that, so that neither images that
    cannot be used nor a workflow that fails are tried every hour.

    Args:
        event: of EventBridge; its ``time`` makes the name of the execution, so that a repetition starts nothing. With
            ``minimum``, nothing is started below that number of new examples.
    """
    settings = read_settings()
    states = boto3.client("stepfunctions", config=PATIENT)
    running = states.list_executions(stateMachineArn=settings.machine_arn, statusFilter="RUNNING", maxResults=1)
    if running["executions"]:
        return {"started": False, "reason": f"{running['executions'][0]['name']} is in progress"}
    moment = datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00")).astimezone(timezone.utc)
    if "minimum" in event:
        asked = states.list_executions(stateMachineArn=settings.machine_arn, maxResults=1)["executions"]
        since = asked[0]["startDate"] if asked else None
        new = uploads_since(boto3.client("cloudwatch", config=PATIENT), settings.uploads_rule, since, moment)
        if new < event["minimum"]:
            return {"started": False, "reason": f"{new} new examples of {event['minimum']}"}
    latest = latest_version(boto3.client("s3", config=PATIENT), settings.learning, settings.dataset)
    version = (latest or 0) + 1
    name = f"{settings.dataset}-{version}-{moment:%Y%m%d%H%M%S}"
    given = {
        "backend": settings.backend,
        "dataset": settings.dataset,
        "version": str(version),
        "parent": str(latest or ""),
    }
    try:
        states.start_execution(stateMachineArn=settings.machine_arn, name=name, input=json.dumps(given, sort_keys=True))
    except states.exceptions.ExecutionAlreadyExists:
        return {"started": False, "reason": f"{name} was started before"}
    logger.info("labeling %s: version %s of %s", name, version, settings.dataset)
    return {"started": True, "execution": name}


def train(event: Event, context: Any) -> dict[str, Any]:
    """EventBridge's target: train on the dataset version that an execution of the labeling workflow has stored.

    Args:
        event: "Step Functions Execution Status Change"; one that repeats starts nothing.
    """
    settings = read_settings()
    detail = event["detail"]
    output = json.loads(detail.get("output") or "{}")
    if detail["status"] != "SUCCEEDED" or "digest" not in output:
        return {"started": False, "reason": "no dataset version was stored"}
    version = int(output["version"])
    told = {
        "DatasetUri": f"s3://{settings.learning}/datasets/{settings.dataset}/{version}",
        "NewPhrases": settings.phrases,
        "Phrases": settings.phrases,
        "BundleVersion": f"1.{version}.0",
    }
    started = boto3.client("sagemaker", config=PATIENT).start_pipeline_execution(
        PipelineName=settings.pipeline,
        ClientRequestToken=hashlib.sha256(str(detail["executionArn"]).encode()).hexdigest(),
        PipelineParameters=[{"Name": name, "Value": value} for name, value in told.items()],
    )
    return {"started": True, "execution": started["PipelineExecutionArn"]}
