"""Where rules of IoT Core take detections, for whoever does not subscribe by MQTT.

- ``firehose``: files in the bucket ``detections``, a message a line, by the hour.
- ``eventbridge``: events on a bus of the stage's own, ``{"detail": {"detections": <message>}}``. IoT Core has no action
  for EventBridge, so a queue and a pipe take them there: no code of ours runs, and what cannot be delivered is kept.

Delivery is at least once, as over MQTT: consumers drop repetitions by ``id``. A rule takes only messages whose
``device`` is that of their topic, and a device may publish below its own name alone: nobody speaks for another.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_logs as logs
from aws_cdk import aws_pipes as pipes
from constructs import Construct

from sam3edge.core.messages.topics import DETECTIONS
from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account
from sam3edge_infra.constructs.queue import queue_with_dead_letters
from sam3edge_infra.constructs.rule_errors import rule_errors
from sam3edge_infra.stacks.storage import Storage
from sam3edge_infra.stages.delivery import Consumers

SQL = f"SELECT * FROM 'sam3edge/+/{DETECTIONS}' WHERE device = topic(2)"
SQL_VERSION = "2016-03-23"

EVENT_SOURCE, DETAIL_TYPE = "sam3edge", "Detections"
BUFFER_MB, BUFFER_SECONDS = 64, 300
PREFIX = "detections/!{timestamp:yyyy/MM/dd/HH}/"
FAILED_PREFIX = "failed/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"


@dataclass(frozen=True, slots=True)
class Destinations:
    """Names of what a stage's destinations are made of; empty where it has none.

    Attributes:
        stream: of Firehose.
        queue, dead: between IoT Core and the bus, and of what could not be taken there.
        bus: of EventBridge.
    """

    stream: str = ""
    queue: str = ""
    dead: str = ""
    bus: str = ""


def destinations_of(naming: Naming, consumers: Consumers) -> Destinations:
    """The destinations of a stage."""
    wanted = consumers.destinations
    return Destinations(
        stream=naming("detections") if "firehose" in wanted else "",
        queue=naming("detections") if "eventbridge" in wanted else "",
        dead=naming("detections-dead") if "eventbridge" in wanted else "",
        bus=naming("detections") if "eventbridge" in wanted else "",
    )


def deliver_detections(scope: Construct, naming: Naming, storage: Storage, consumers: Consumers) -> Destinations:
    """Make the destinations that a stage names, and the rule that feeds them."""
    made = destinations_of(naming, consumers)
    if not consumers.destinations:
        return made
    role = iam.Role(
        scope,
        "DetectionsRole",
        assumed_by=for_account("iot.amazonaws.com", naming),
        description="the rule of IoT Core that takes detections to consumers",
    )
    actions = []
    if made.stream:
        _stream(scope, naming, storage, made.stream)
        allow(role, Statement(["firehose:PutRecord"], [naming.arn("firehose", f"deliverystream/{made.stream}")]))
        to_stream = iot.CfnTopicRule.FirehoseActionProperty(
            delivery_stream_name=made.stream, role_arn=role.role_arn, separator="\n"
        )
        actions.append(iot.CfnTopicRule.ActionProperty(firehose=to_stream))
    if made.queue:
        _bus(scope, naming, made)
        allow(role, Statement(["sqs:SendMessage"], [naming.queue_arn("detections")]))
        url = f"https://sqs.{naming.region}.amazonaws.com/{naming.account}/{made.queue}"
        to_queue = iot.CfnTopicRule.SqsActionProperty(queue_url=url, role_arn=role.role_arn, use_base64=False)
        actions.append(iot.CfnTopicRule.ActionProperty(sqs=to_queue))
    rule = iot.CfnTopicRule(
        scope,
        "DetectionsRule",
        rule_name=naming("detections").replace("-", "_"),
        topic_rule_payload=iot.CfnTopicRule.TopicRulePayloadProperty(
            sql=SQL,
            aws_iot_sql_version=SQL_VERSION,
            actions=actions,
            error_action=rule_errors(scope, DETECTIONS, naming, role),
            rule_disabled=False,
        ),
    )
    rule.node.add_dependency(role)
    return made


def _stream(scope: Construct, naming: Naming, storage: Storage, name: str) -> None:
    bucket = storage.detections
    log = log_group(scope, "StreamLog", f"/aws/kinesisfirehose/{name}")
    log_stream = logs.LogStream(
        scope, "StreamLogStream", log_group=log, log_stream_name="s3", removal_policy=cdk.RemovalPolicy.DESTROY
    )
    role = iam.Role(
        scope,
        "StreamRole",
        assumed_by=iam.ServicePrincipal(
            "firehose.amazonaws.com", conditions={"StringEquals": {"sts:ExternalId": naming.account}}
        ),
        description="Firehose: detections into files",
    )
    allow(
        role,
        Statement(
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            bucket.below("detections/", "failed/"),
            "Firehose names the files by their time",
        ),
        Statement(["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], [bucket.arn]),
        Statement(["logs:PutLogEvents"], [naming.arn("logs", f"log-group:/aws/kinesisfirehose/{name}:log-stream:s3")]),
    )
    stream = firehose.CfnDeliveryStream(
        scope,
        "Stream",
        delivery_stream_name=name,
        delivery_stream_type="DirectPut",
        delivery_stream_encryption_configuration_input=(
            firehose.CfnDeliveryStream.DeliveryStreamEncryptionConfigurationInputProperty(key_type="AWS_OWNED_CMK")
        ),
        extended_s3_destination_configuration=firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
            bucket_arn=bucket.arn,
            role_arn=role.role_arn,
            prefix=PREFIX,
            error_output_prefix=FAILED_PREFIX,
            compression_format="GZIP",
            buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(
                size_in_m_bs=BUFFER_MB, interval_in_seconds=BUFFER_SECONDS
            ),
            cloud_watch_logging_options=firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                enabled=True, log_group_name=log.log_group_name, log_stream_name=log_stream.log_stream_name
            ),
        ),
    )
    stream.node.add_dependency(role)


def _bus(scope: Construct, naming: Naming, names: Destinations) -> None:
    queues = queue_with_dead_letters(scope, "detections", naming, cdk.Duration.seconds(60))
    bus = events.EventBus(scope, "Bus", event_bus_name=names.bus)
    role = iam.Role(
        scope,
        "PipeRole",
        assumed_by=for_account("pipes.amazonaws.com", naming),
        description="the pipe from the queue to the bus",
    )
    allow(
        role,
        Statement(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], [naming.queue_arn("detections")]
        ),
        Statement(["events:PutEvents"], [naming.arn("events", f"event-bus/{names.bus}")]),
    )
    target = pipes.CfnPipe.PipeTargetEventBridgeEventBusParametersProperty(source=EVENT_SOURCE, detail_type=DETAIL_TYPE)
    pipe = pipes.CfnPipe(
        scope,
        "Pipe",
        name=naming("detections"),
        description="detections of devices, from the queue to the bus",
        role_arn=role.role_arn,
        source=queues.main.queue_arn,
        source_parameters=pipes.CfnPipe.PipeSourceParametersProperty(
            sqs_queue_parameters=pipes.CfnPipe.PipeSourceSqsQueueParametersProperty(batch_size=1)
        ),
        target=bus.event_bus_arn,
        target_parameters=pipes.CfnPipe.PipeTargetParametersProperty(
            event_bridge_event_bus_parameters=target, input_template='{"detections": <$.body>}'
        ),
    )
    pipe.node.add_dependency(role)
