"""The labeling workflow: a state machine and the functions of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from aws_cdk import aws_iam as iam
from constructs import Construct

from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Images
from sam3edge_infra.constructs.machine import state_machine
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stacks.storage import EXAMPLES_PREFIX, Storage
from sam3edge_infra.stages.learning import GroundTruth
from sam3edge_infra.stages.learning import Labeling as LabelingOptions
from sam3edge_pipeline.labeling.settings import BETWEEN_PHRASES
from sam3edge_pipeline.labeling.steps import Step
from sam3edge_pipeline.labeling.workflow import StepFunctions, WorkflowSettings, definition
from sam3edge_pipeline.rollout.state_machine import to_text

STEPS: tuple[Step, ...] = get_args(Step)

SECONDS = 900
"""Lambda's own limit, and that of a task of the workflow: thousands of images are fetched."""


@dataclass(frozen=True, slots=True)
class Labeling:
    """What other stacks get.

    Attributes:
        machine: name of the state machine; ``machine_arn`` its ARN.
        functions: names of the functions, by step.
    """

    machine: str
    machine_arn: str
    functions: Mapping[Step, str]


def labeling_of(naming: Naming) -> Labeling:
    """The labeling of a stage."""
    return Labeling(
        naming("labeling"), naming.machine_arn("labeling"), {step: naming(f"labeling-{step}") for step in STEPS}
    )


class LabelingStack(StageStack):
    """The labeling workflow."""

    def __init__(
        self, scope: Construct, naming: Naming, storage: Storage, images: Images, options: LabelingOptions
    ) -> None:
        super().__init__(scope, "labeling", naming, "sam3edge: labels for what devices send back")
        self.labeling = labeling_of(naming)
        environment = {
            "SAM3EDGE_LABELING_EXAMPLES": storage.examples.name,
            "SAM3EDGE_LABELING_EXAMPLES_PREFIX": EXAMPLES_PREFIX,
            "SAM3EDGE_LABELING_LEARNING": storage.learning.name,
            "SAM3EDGE_LABELING_PHRASES": BETWEEN_PHRASES.join(options.phrases),
            "SAM3EDGE_LABELING_DATASET": options.dataset,
        }
        if options.ground_truth is not None:
            environment |= self._ground_truth(naming, storage, options.ground_truth)
        image = images.image(self, "functions")
        for step in STEPS:
            spec = FunctionSpec(
                f"labeling-{step}",
                f"sam3edge_pipeline.labeling.handlers.{step}",
                f"labeling: {step}",
                environment,
                seconds=SECONDS,
                memory_mb=2048,
                disk_mb=10_240,
            )
            function = image_function(self, spec, naming, image)
            allow(function.role, *_access(storage), *_labels(naming, step, environment))
        arns = {step: naming.function_arn(f"labeling-{step}") for step in STEPS}
        limits = WorkflowSettings(minimum=options.minimum, maximum=options.maximum)
        machine = definition(StepFunctions(**arns), limits)
        state_machine(self, "labeling", naming, to_text(machine), list(arns.values()))

    def _ground_truth(self, naming: Naming, storage: Storage, options: GroundTruth) -> dict[str, str]:
        """The role of labeling jobs, and what the functions are told."""
        role = iam.Role(
            self,
            "JobRole",
            assumed_by=for_account("sagemaker.amazonaws.com", naming),
            description="jobs of Ground Truth",
        )
        allow(
            role,
            Statement(["s3:ListBucket", "s3:GetBucketLocation"], [storage.examples.arn, storage.learning.arn]),
            Statement(
                ["s3:GetObject"],
                storage.examples.below(f"{EXAMPLES_PREFIX}/"),
                "any upload may be labeled",
            ),
            Statement(
                ["s3:GetObject", "s3:PutObject"],
                storage.learning.below("labeling/ground-truth/"),
                "each job has a folder in it",
            ),
            Statement(["lambda:InvokeFunction"], [options.pre_task, options.consolidation]),
        )
        return {
            "SAM3EDGE_LABELING_ROLE": role.role_arn,
            "SAM3EDGE_LABELING_WORK_TEAM": options.work_team,
            "SAM3EDGE_LABELING_UI_TEMPLATE": options.ui_template,
            "SAM3EDGE_LABELING_PRE_TASK": options.pre_task,
            "SAM3EDGE_LABELING_CONSOLIDATION": options.consolidation,
        }


def _access(storage: Storage) -> tuple[Statement, ...]:
    """Uploads are read; jobs, queues, labels and datasets are read and written, nothing is deleted."""
    return (
        Statement(["s3:ListBucket"], [storage.examples.arn, storage.learning.arn]),
        Statement(["s3:GetObject"], storage.examples.below(f"{EXAMPLES_PREFIX}/"), "any upload may be labeled"),
        Statement(
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            storage.learning.below("labeling/", "datasets/"),
            "jobs and versions have folders in them",
        ),
    )


def _labels(naming: Naming, step: Step, environment: Mapping[str, str]) -> tuple[Statement, ...]:
    """What Ground Truth adds; nothing where nobody uses it."""
    if "SAM3EDGE_LABELING_WORK_TEAM" not in environment:
        return ()
    jobs = naming.arn("sagemaker", "labeling-job/*")
    reads = Statement(["sagemaker:DescribeLabelingJob"], [jobs], "jobs are named for the version that they are for")
    if step != "start":
        return (reads,)
    return (
        reads,
        Statement(["sagemaker:CreateLabelingJob"], [jobs], "jobs are named for the version that they are for"),
        Statement(
            ["iam:PassRole"],
            [environment["SAM3EDGE_LABELING_ROLE"]],
            conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        ),
    )
