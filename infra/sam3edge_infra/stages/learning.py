"""The parts of a stage from new examples to a model: labeling and training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from sam3edge_infra.stages.section import Section
from sam3edge_infra.stages.values import (
    DatasetName,
    FunctionArn,
    Phrase,
    S3Uri,
    SageMakerInstance,
    Schedule,
    WorkTeamArn,
    has_gpu,
)


class GroundTruth(Section):
    """Ground Truth, which takes no new customers.

    Attributes:
        work_team: who labels; ARN.
        pre_task, consolidation: AWS' functions of the region for bounding boxes; ARNs, see its developer guide.
        ui_template: address of the task's page.
    """

    work_team: WorkTeamArn
    pre_task: FunctionArn
    consolidation: FunctionArn
    ui_template: S3Uri


MAX_PHRASES_BYTES = 2000
"""Of all phrases and one byte between two: a hyperparameter of SageMaker holds 2,500 characters, and the environment of
a Lambda function 4 KB, names and its other values included."""


class Labeling(Section):
    """Who labels what devices send back.

    Attributes:
        phrases: to be labeled in every image; retraining learns them.
        minimum: images that are worth a job; ``maximum`` of one job.
        ground_truth: with the backend of that name, and with no other.
    """

    backend: Literal["files", "review", "ground-truth"] = "review"
    dataset: DatasetName = "field"
    phrases: tuple[Phrase, ...] = Field(min_length=1, max_length=50)
    minimum: int = Field(20, ge=1, le=10_000)
    maximum: int = Field(1000, ge=1, le=10_000)
    ground_truth: GroundTruth | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (size := sum(len(one.encode()) + 1 for one in self.phrases)) > MAX_PHRASES_BYTES:
            raise ValueError(f"expected phrases of {MAX_PHRASES_BYTES} bytes together or less, got {size}")
        if self.minimum > self.maximum:
            raise ValueError(f"expected a maximum of {self.minimum} or more, got {self.maximum}")
        if (self.backend == "ground-truth") != (self.ground_truth is not None):
            raise ValueError("expected a section ground_truth with the backend ground-truth, and with no other")
        return self


class Training(Section):
    """When a model is trained again, and on what.

    Attributes:
        schedule: when labels are asked for whatever has come in; None for never.
        new_examples: uploads since labels were asked for last, that ask for them within the hour; None for no such
            trigger.
        checkpoint: what training begins with, a prefix in S3 that ends with ``/``; by default ``checkpoints/current/``
            in the stage's own bucket, where somebody has to put one.
    """

    schedule: Schedule | None = "rate(7 days)"
    new_examples: int | None = Field(200, ge=1, le=1_000_000)
    checkpoint: S3Uri | None = None
    training_instance: SageMakerInstance = "ml.g6e.2xlarge"
    processing_instance: SageMakerInstance = "ml.m7i.2xlarge"

    @model_validator(mode="after")
    def _can_train(self) -> Self:
        if not has_gpu(self.training_instance):
            raise ValueError(
                f"expected a training_instance with a GPU, such as ml.g6e.2xlarge, got {self.training_instance}"
            )
        if self.checkpoint is not None and not self.checkpoint.endswith("/"):
            raise ValueError(f"expected a checkpoint that ends with '/', got {self.checkpoint!r}")
        return self
