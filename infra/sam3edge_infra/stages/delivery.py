"""The parts of a stage around the fleet: consumers of detections, simulator, live page, monitoring, delivery."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sam3edge_infra.stages.section import Section
from sam3edge_infra.stages.values import (
    BucketName,
    CodeCommitName,
    ConnectionArn,
    Ec2Instance,
    Email,
    PublicKey,
    RepositoryName,
    Schedule,
)


class Consumers(Section):
    """Where IoT rules take detections, beside MQTT's subscribers.

    Attributes:
        destinations: ``firehose`` (files in S3), ``eventbridge`` (events on a bus of the stage).
    """

    destinations: tuple[Literal["firehose", "eventbridge"], ...] = ()


class Simulator(Section):
    """An EC2 instance that is a device.

    Attributes:
        instance_type: with a GPU or without.
        group: thing group it joins.
    """

    instance_type: Ec2Instance = "m7i.large"
    group: Literal["canary", "fleet"] = "canary"


class LivePage(Section):
    """Whoever has a token sees the devices in a browser: AWS IoT Core lets the page in by a custom authorizer.

    Attributes:
        signing_key: the operator's public key, with which ids of tokens are signed (``page_tokens key``).
        commands: whether pages may send commands to devices.
        session_minutes: after which a page must connect again, which it does by itself.
    """

    signing_key: PublicKey
    commands: Literal["allowed", "denied"] = "denied"
    session_minutes: int = Field(60, ge=5, le=1440)


class Monitoring(Section):
    """Whom alarms reach, and from where on.

    Attributes:
        email: gets alarms; None for nobody but the dashboard.
        budget_usd: a month, of the whole account: somebody is told at 80 and 100 %; None for no budget.
        messages_per_hour: of all devices, each counted by every rule of IoT Core that takes it.
        requests_per_hour: to the endpoint.
        bucket_gb: in each of the buckets that devices and clients write into.
        silent_minutes: without a heartbeat, after which a device is missing.
        outbox_messages, outbox_minutes: queued on a device: how many, and how old.
        error_percent: of requests or frames.
        latency_ms: of the endpoint, 90 of 100 requests; of an asynchronous one only what waits too long is told.
    """

    email: Email | None = None
    budget_usd: int | None = Field(500, ge=1)
    messages_per_hour: int = Field(100_000, ge=1)
    requests_per_hour: int = Field(5000, ge=1)
    bucket_gb: int = Field(500, ge=1)
    silent_minutes: int = Field(15, ge=1, le=1440)
    outbox_messages: int = Field(1000, ge=1)
    outbox_minutes: int = Field(60, ge=1)
    error_percent: float = Field(5, gt=0, le=100)
    latency_ms: int = Field(5000, ge=1)


class CodeConnectionSource(Section):
    """A repository at GitHub, GitLab or Bitbucket, by a connection."""

    kind: Literal["codeconnections"]
    connection: ConnectionArn
    repository: RepositoryName
    branch: str = Field("main", min_length=1)


class CodeCommitSource(Section):
    """A repository of CodeCommit."""

    kind: Literal["codecommit"]
    repository: CodeCommitName
    branch: str = Field("main", min_length=1)


class S3Source(Section):
    """A zip of the sources in a bucket with versions."""

    kind: Literal["s3"]
    bucket: BucketName
    key: str = Field(min_length=1)


Source: TypeAlias = Annotated[CodeConnectionSource | CodeCommitSource | S3Source, Field(discriminator="kind")]


class Delivery(Section):
    """A pipeline that deploys what is pushed.

    Attributes:
        schedule: of the pipeline itself, beside pushes; None for none.
        approval: ``manual`` waits, once everything is tested and synthesised, for a person to approve the deployment.
            It does not guard the pipeline's change of itself, which comes before.
        after: a deployment, ``label`` asks for labels of whatever has come in, as ``training.schedule`` does.
    """

    source: Source
    schedule: Schedule | None = None
    approval: Literal["none", "manual"] = "none"
    after: Literal["label", "nothing"] = "label"
