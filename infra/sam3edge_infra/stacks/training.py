"""SageMaker's pipeline, and what starts it: a schedule or many new examples ask for labels, and labels start it.

schedule, or every hour if enough uploads are new -> label -> labeling workflow -> its success -> train -> pipeline
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Image, ImageName, Images
from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import NO_RESOURCES, Statement, allow, for_account, in_network, pulls
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.trigger import trigger, undelivered_queue
from sam3edge_infra.stacks.labeling import Labeling
from sam3edge_infra.stacks.network import Network
from sam3edge_infra.stacks.pipeline_definition import DeployedDefinition
from sam3edge_infra.stacks.registry import Registry
from sam3edge_infra.stacks.storage import EXAMPLES_PREFIX, Storage
from sam3edge_infra.stages.learning import Labeling as LabelingOptions
from sam3edge_infra.stages.learning import Training as TrainingOptions
from sam3edge_pipeline.labeling.settings import BETWEEN_PHRASES

UPLOADS = "new-examples"
"""Name of the rule that matches each example, within a stage."""

_HANDLERS = "sam3edge_pipeline.retraining.handlers"
COUNTED = "rate(1 hour)"
"""How often new examples are counted."""

_OF_JOBS = "jobs are named by the pipeline for its executions"


@dataclass(frozen=True, slots=True)
class Training:
    """What other stacks get.

    Attributes:
        label: name of the function that asks for labels; ``train`` of the one that starts the pipeline.
        undelivered: name of the queue of events that started nothing.
    """

    pipeline_name: str
    pipeline_arn: str
    label: str
    train: str
    undelivered: str


def training_of(naming: Naming) -> Training:
    """The training of a stage."""
    name = naming("training")
    return Training(
        name,
        naming.arn("sagemaker", f"pipeline/{name}"),
        naming("retrain-label"),
        naming("retrain-train"),
        naming("retraining-undelivered"),
    )


class TrainingStack(StageStack):
    """The pipeline and its triggers."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        storage: Storage,
        network: Network,
        images: Images,
        registry: Registry,
        labeling: Labeling,
        options: TrainingOptions,
        labeled: LabelingOptions,
        serving: ImageName,
    ) -> None:
        super().__init__(scope, "training", naming, "sam3edge: training pipeline and what starts it")
        self._naming, self._storage, self._registry = naming, storage, registry
        self.training = training_of(naming)
        checkpoint = options.checkpoint or storage.learning.uri("checkpoints/current/")
        image = images.image(self, "pipeline")
        jobs = self._job_role(network, image, checkpoint)
        self._pipeline(jobs, network, image, images.image(self, serving), checkpoint, options, labeled)
        self._triggers(labeling, images.image(self, "functions"), options, labeled)

    def _job_role(self, network: Network, image: Image, checkpoint: str) -> iam.Role:
        """What the containers of the steps run as."""
        naming, storage = self._naming, self._storage
        role = iam.Role(
            self,
            "JobRole",
            role_name=naming("training-jobs"),
            assumed_by=for_account("sagemaker.amazonaws.com", naming),
            description="steps of the training pipeline",
        )
        bucket, _, prefix = checkpoint.removeprefix("s3://").partition("/")
        allow(
            role,
            Statement(
                ["s3:ListBucket", "s3:GetBucketLocation"], sorted({storage.learning.arn, f"arn:aws:s3:::{bucket}"})
            ),
            Statement(["s3:GetObject"], storage.learning.below("datasets/"), "versions of datasets have folders in it"),
            Statement(["s3:GetObject"], [f"arn:aws:s3:::{bucket}/{prefix}*"], "a checkpoint is a folder of files"),
            Statement(
                ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"],
                storage.learning.below("pipeline/"),
                "each execution has a folder in it; training deletes old checkpoints of its own",
            ),
            Statement(
                ["sagemaker:DescribeModelPackageGroup"],
                [self._registry.group_arn],
            ),
            Statement(
                [
                    "sagemaker:CreateModelPackage",
                    "sagemaker:DescribeModelPackage",
                    "sagemaker:ListModelPackages",
                    "sagemaker:AddTags",
                ],
                [self._registry.group_arn, self._registry.packages_arn],
                "versions are counted by SageMaker; all packages are of the stage's own group",
            ),
            Statement(
                ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                [
                    naming.arn("logs", "log-group:/aws/sagemaker/ProcessingJobs*"),
                    naming.arn("logs", "log-group:/aws/sagemaker/TrainingJobs*"),
                ],
                "SageMaker makes one log group for all jobs of a kind, and a stream for each",
            ),
            Statement(
                ["cloudwatch:PutMetricData"],
                ["*"],
                NO_RESOURCES,
                {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*"]}},
            ),
            *pulls(image.arn(naming)),
            *in_network(naming, network.subnet_ids(self), [network.workloads_id(self)]),
        )
        return role

    def _pipeline(
        self,
        jobs: iam.Role,
        network: Network,
        image: Image,
        serving: Image,
        checkpoint: str,
        options: TrainingOptions,
        labeled: LabelingOptions,
    ) -> None:
        naming = self._naming
        role = iam.Role(
            self,
            "PipelineRole",
            assumed_by=for_account("sagemaker.amazonaws.com", naming),
            description="the training pipeline: starts jobs",
        )
        processing, training = (naming.arn("sagemaker", f"{kind}-job/*") for kind in ("processing", "training"))
        allow(
            role,
            Statement(
                [
                    *(f"sagemaker:{verb}ProcessingJob" for verb in ("Create", "Describe", "Stop")),
                    *(f"sagemaker:{verb}TrainingJob" for verb in ("Create", "Describe", "Stop")),
                    "sagemaker:AddTags",
                ],
                [processing, training],
                _OF_JOBS,
            ),
            Statement(
                ["iam:PassRole"],
                [jobs.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            ),
            Statement(
                ["s3:GetObject"],
                self._storage.learning.below("pipeline/"),
                "the pipeline reads the property file of an execution, decision.json",
            ),
            Statement(
                ["events:PutTargets", "events:PutRule", "events:DescribeRule"],
                [
                    naming.arn("events", f"rule/SageMakerPipelineExecutionEventsFor{kind}JobsRule")
                    for kind in ("Processing", "Training")
                ],
            ),
        )
        definition = DeployedDefinition(
            role_arn=jobs.role_arn,
            subnets=tuple(network.subnet_ids(self)),
            security_groups=(network.workloads_id(self),),
            defaults={
                "DatasetUri": self._storage.learning.uri(f"datasets/{labeled.dataset}/1"),
                "CheckpointUri": checkpoint.rstrip("/"),
                "OutputUri": self._storage.learning.uri("pipeline"),
                "ImageUri": image.uri,
                "ServingImageUri": serving.uri,
                "ModelPackageGroup": self._registry.group_name,
                "NewPhrases": BETWEEN_PHRASES.join(labeled.phrases),
                "Phrases": BETWEEN_PHRASES.join(labeled.phrases),
                "ProcessingInstance": options.processing_instance,
                "TrainingInstance": options.training_instance,
            },
        )
        pipeline = sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=self.training.pipeline_name,
            pipeline_description="prepare, train, evaluate, decide, export, register",
            pipeline_definition={"PipelineDefinitionBody": cdk.Stack.of(self).to_json_string(definition.document())},
            role_arn=role.role_arn,
            parallelism_configuration={"MaxParallelExecutionSteps": 2},
        )
        pipeline.node.add_dependency(role)

    def _triggers(self, labeling: Labeling, image: Image, options: TrainingOptions, labeled: LabelingOptions) -> None:
        naming, storage = self._naming, self._storage
        environment = {
            "SAM3EDGE_RETRAINING_LEARNING": storage.learning.name,
            "SAM3EDGE_RETRAINING_DATASET": labeled.dataset,
            "SAM3EDGE_RETRAINING_BACKEND": labeled.backend,
            "SAM3EDGE_RETRAINING_MACHINE_ARN": labeling.machine_arn,
            "SAM3EDGE_RETRAINING_PIPELINE": self.training.pipeline_name,
            "SAM3EDGE_RETRAINING_PHRASES": BETWEEN_PHRASES.join(labeled.phrases),
            "SAM3EDGE_RETRAINING_UPLOADS_RULE": naming(UPLOADS),
        }
        label = self._function("label", "retraining: ask for labels", environment, image)
        train = self._function("train", "retraining: start the pipeline", environment, image)
        allow(
            label.role,
            Statement(["states:ListExecutions", "states:StartExecution"], [labeling.machine_arn]),
            Statement(
                ["s3:ListBucket"], [storage.learning.arn], conditions={"StringLike": {"s3:prefix": "datasets/*"}}
            ),
        )
        allow(train.role, Statement(["sagemaker:StartPipelineExecution"], [self.training.pipeline_arn]))
        undelivered = undelivered_queue(self, "retraining", naming)
        trigger(self, "labeled", naming, train, undelivered, pattern=labeled_pattern(labeling.machine_arn))
        if options.schedule is not None:
            trigger(self, "retraining-due", naming, label, undelivered, schedule=options.schedule)
        if options.new_examples is not None:
            self._counts_examples()
            allow(label.role, Statement(["cloudwatch:GetMetricStatistics"], ["*"], NO_RESOURCES))
            enough = {"minimum": options.new_examples}
            trigger(self, "retrain-on-examples", naming, label, undelivered, schedule=COUNTED, told=enough)

    def _function(
        self, task: str, description: str, environment: Mapping[str, str], image: Image
    ) -> lambda_.DockerImageFunction:
        spec = FunctionSpec(f"retrain-{task}", f"{_HANDLERS}.{task}", description, environment)
        return image_function(self, spec, self._naming, image)

    def _counts_examples(self) -> None:
        """A rule that matches each upload. EventBridge counts what a rule matches: no function has to."""
        naming = self._naming
        name = naming(UPLOADS)
        log = log_group(self, "NewExamples", f"/aws/events/{name}", logs.RetentionDays.TWO_WEEKS)
        rule = events.CfnRule(
            self,
            "NewExamplesRule",
            name=name,
            event_pattern=uploaded_pattern(self._storage.examples.name),
            state="ENABLED",
            targets=[events.CfnRule.TargetProperty(id="log", arn=naming.arn("logs", f"log-group:/aws/events/{name}"))],
        )
        rule.node.add_dependency(log)
        logs.CfnResourcePolicy(
            self,
            "EventsMayLog",
            policy_name=name,
            policy_document=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
                            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                            "Resource": naming.arn("logs", f"log-group:/aws/events/{name}:*"),
                        }
                    ],
                }
            ),
        )


def uploaded_pattern(bucket: str) -> dict[str, Any]:
    """Whole examples in a bucket: their ``example.json`` comes last."""
    return {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [bucket]},
            "object": {"key": [{"wildcard": f"{EXAMPLES_PREFIX}/*/example.json"}]},
        },
    }


def labeled_pattern(machine_arn: str) -> dict[str, Any]:
    """An execution of the labeling workflow that succeeded."""
    return {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"stateMachineArn": [machine_arn], "status": ["SUCCEEDED"]},
    }
