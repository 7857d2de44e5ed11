"""The roll-out: approvals start a state machine, its functions, their tables, and what the devices say.

See pipeline/sam3edge_pipeline/rollout/README.md, which says what each part does and what its surroundings must keep to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Images
from sam3edge_infra.constructs.machine import state_machine
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account
from sam3edge_infra.constructs.queue import queue_with_dead_letters
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.table import on_demand_table
from sam3edge_infra.constructs.trigger import trigger, undelivered_queue
from sam3edge_infra.stacks.registry import Registry
from sam3edge_infra.stacks.rollout_permissions import Access
from sam3edge_infra.stacks.storage import Storage
from sam3edge_infra.stages.stage import ClassicNucleus, Fleet, LiteNucleus
from sam3edge_pipeline.rollout.events import event_pattern
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, PUBLISH_SECONDS, Times, definition, to_text

OBSERVED = {
    "detections": "sam3edge/+/detections",
    "errors": "sam3edge/+/errors",
    "status": "sam3edge/+/status",
    "status-model": "sam3edge/+/status/model",
}
"""Topics of which the canaries are judged."""

OBSERVE_SECONDS = 60
BATCH, BATCH_SECONDS = 100, 10

_HANDLERS = "sam3edge_pipeline.rollout.handlers"


@dataclass(frozen=True, slots=True)
class Rollout:
    """What other stacks get.

    Attributes:
        machine: name of the state machine; ``machine_arn`` its ARN.
        functions: names of the functions, by that of their task.
        observations: name of the queue of the devices' messages; ``dead_observations`` of those that nobody could take.
        undelivered: name of the queue of approvals that started nothing.
    """

    machine: str
    machine_arn: str
    functions: Mapping[str, str]
    observations: str
    dead_observations: str
    undelivered: str


def rollout_name(task: str) -> str:
    """Name of a function, within a stage."""
    return f"rollout-{task.replace('_', '-')}"


class RolloutStack(StageStack):
    """The roll-out."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        storage: Storage,
        images: Images,
        registry: Registry,
        fleet: Fleet,
        nucleus: ClassicNucleus | LiteNucleus,
        times: Times | None = None,
    ) -> None:
        super().__init__(scope, "rollout", naming, "sam3edge: roll-out of approved models")
        times = times or Times()
        groups = {name: naming.arn("iot", f"thinggroup/{group}") for name, group in _groups(fleet).items()}
        on_demand_table(self, "rollout-records", naming, "id", expires="expires")
        on_demand_table(self, "rollout-observations", naming, "thing", sort="at", expires="expires")
        environment = {
            "SAM3EDGE_ROLLOUT_STATE_MACHINE_ARN": naming.machine_arn("rollout"),
            "SAM3EDGE_ROLLOUT_CANARY_GROUP_ARN": groups["canary"],
            "SAM3EDGE_ROLLOUT_FLEET_GROUP_ARN": groups["fleet"],
            "SAM3EDGE_ROLLOUT_NUCLEUS": nucleus.component,
            "SAM3EDGE_ROLLOUT_NUCLEUS_VERSION": nucleus.version,
            "SAM3EDGE_ROLLOUT_BUCKET": storage.artifacts.name,
            "SAM3EDGE_ROLLOUT_RECORDS_TABLE": naming("rollout-records"),
            "SAM3EDGE_ROLLOUT_OBSERVATIONS_TABLE": naming("rollout-observations"),
            "SAM3EDGE_ROLLOUT_MAX_BAKES": str(times.bake.rounds),
            "SAM3EDGE_ROLLOUT_CLAIM_SECONDS": str(times.longest() + 3600),
        }
        image = images.image(self, "functions")
        access = Access(naming, storage, registry, groups)
        functions: dict[str, lambda_.DockerImageFunction] = {}
        for task in (*FUNCTIONS, "start", "observe"):
            spec = _spec(task, environment)
            functions[task] = image_function(self, spec, naming, image)
            allow(functions[task].role, *access.of(task))
        arns = {task: naming.function_arn(rollout_name(task)) for task in FUNCTIONS}
        state_machine(self, "rollout", naming, to_text(definition(arns, times)), list(arns.values()))
        undelivered = undelivered_queue(self, "rollout", naming)
        trigger(self, "approved", naming, functions["start"], undelivered, pattern=event_pattern(registry.group_name))
        self._observations(naming, functions["observe"])
        self.rollout = Rollout(
            naming("rollout"),
            naming.machine_arn("rollout"),
            {task: naming(rollout_name(task)) for task in functions},
            naming("observations"),
            naming("observations-dead"),
            naming("rollout-undelivered"),
        )

    def _observations(self, naming: Naming, observe: lambda_.DockerImageFunction) -> None:
        """IoT Core's rules, and the queue from which ``observe`` reads."""
        queues = queue_with_dead_letters(self, "observations", naming, cdk.Duration.seconds(6 * OBSERVE_SECONDS))
        role = iam.Role(
            self,
            "RulesRole",
            assumed_by=for_account("iot.amazonaws.com", naming),
            description="rules of IoT Core: the devices' messages into the queue",
        )
        into_queues = [naming.queue_arn("observations"), naming.queue_arn("observations-dead")]
        allow(role, Statement(["sqs:SendMessage"], into_queues))

        def into(queue: str) -> iot.CfnTopicRule.ActionProperty:
            url = f"https://sqs.{naming.region}.amazonaws.com/{naming.account}/{naming(queue)}"
            return iot.CfnTopicRule.ActionProperty(
                sqs=iot.CfnTopicRule.SqsActionProperty(queue_url=url, role_arn=role.role_arn, use_base64=False)
            )

        for name, topic in OBSERVED.items():
            rule = iot.CfnTopicRule(
                self,
                f"Observe-{name}",
                rule_name=naming(f"observe-{name}").replace("-", "_"),
                topic_rule_payload=iot.CfnTopicRule.TopicRulePayloadProperty(
                    sql=f"SELECT * FROM '{topic}' WHERE device = topic(2)",
                    aws_iot_sql_version="2016-03-23",
                    actions=[into("observations")],
                    error_action=into("observations-dead"),
                    rule_disabled=False,
                ),
            )
            rule.node.add_dependency(role)
        source = lambda_.CfnEventSourceMapping(
            self,
            "Observed",
            function_name=observe.function_name,
            event_source_arn=queues.main.queue_arn,
            batch_size=BATCH,
            maximum_batching_window_in_seconds=BATCH_SECONDS,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=10),
        )
        source.node.add_dependency(observe.role)


def _groups(fleet: Fleet) -> dict[str, str]:
    return {"canary": fleet.canary_group, "fleet": fleet.fleet_group}


def _spec(task: str, environment: Mapping[str, str]) -> FunctionSpec:
    seconds = {"publish": PUBLISH_SECONDS, "observe": OBSERVE_SECONDS}.get(task, 60)
    publishes = task == "publish"
    return FunctionSpec(
        rollout_name(task),
        f"{_HANDLERS}.{task}",
        f"roll-out: {task.replace('_', ' ')}",
        environment,
        seconds=seconds,
        memory_mb=2048 if task in ("publish", "judge") else 512,
        disk_mb=10_240 if publishes else 512,
    )
