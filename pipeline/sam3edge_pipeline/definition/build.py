"""Write the definition of the pipeline with SageMaker's SDK v3; the same definition every time.

    pip install "sam3edge[definition]"
    AWS_DEFAULT_REGION=eu-central-1 python -m sam3edge_pipeline.definition.build [--check]

One container image holds everything; each step runs another module of ``sam3edge_pipeline.steps``. No QualityCheck or
ClarifyCheck step: the services behind them are closed to new customers. What would differ from run to run (addresses,
phrases, margins) is a parameter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
from sagemaker.core.helper.pipeline_variable import PipelineVariable
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.core.training.configs import CheckpointConfig, Compute, InputData, OutputDataConfig, StoppingCondition
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo, ConditionLessThanOrEqualTo
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.train.model_trainer import ModelTrainer

DEFINITION = Path(__file__).with_name("pipeline.json")

REGION, ROLE = "eu-central-1", "arn:aws:iam::123456789012:role/sam3edge-pipeline"
"""Stand-ins: the definition does not hold the region, and deployment exchanges the role."""

PARAMETERS: dict[str, str | float | int] = {
    "DatasetUri": "s3://bucket/datasets/name/1",
    "CheckpointUri": "s3://bucket/checkpoints/current",
    "OutputUri": "s3://bucket/pipeline",
    "ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sam3edge-pipeline:latest",
    "ServingImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sam3edge-endpoint:latest",
    "ModelPackageGroup": "sam3edge",
    "CodeRevision": "unknown",
    "NewPhrases": "tank",
    "Phrases": "tank",
    "BundleName": "sam3",
    "BundleVersion": "1.0.0",
    "Precision": "fp16",
    "Adaptation": "frozen-vision",
    "Steps": 2000,
    "Batch": 8,
    "Seed": 0,
    "TransformerRate": 8e-5,
    "VisionRate": 2.5e-5,
    "TextRate": 5e-6,
    "Clip": 0.1,
    "MaskPoints": 3136,
    "ProcessingInstance": "ml.m7i.2xlarge",
    "TrainingInstance": "ml.g6e.2xlarge",
    "Gain": 0.05,
    "Fall": 0.05,
    "FalseAlarms": 0.05,
}
"""What differs from run to run, with its default."""

NUMBERS = {
    "steps": "Steps",
    "batch": "Batch",
    "seed": "Seed",
    "transformer_rate": "TransformerRate",
    "vision_rate": "VisionRate",
    "text_rate": "TextRate",
    "clip": "Clip",
    "mask_points": "MaskPoints",
}
"""Hyperparameters that are numbers, and the parameters that they are taken from."""

MODULE = "sam3edge_pipeline.steps"
INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
VOLUME_GB = 100
TRAINING_HOURS = 24


def build() -> dict[str, Any]:
    """The definition, as SageMaker reads it."""
    os.environ.update(
        SAGEMAKER_VALIDATE_ROLE="false",
        AWS_DEFAULT_REGION=REGION,
        AWS_ACCESS_KEY_ID="none",
        AWS_SECRET_ACCESS_KEY="none",
    )
    boto = boto3.Session("none", "none", region_name=REGION)
    session = PipelineSession(boto_session=boto, default_bucket="bucket")
    told = {name: _parameter(name, value) for name, value in PARAMETERS.items()}
    steps = _Steps(session, told)
    prepare = steps.processing(
        "Prepare", "prepare", {"dataset": told["DatasetUri"]}, ("summary",), {"new_phrases": told["NewPhrases"]}
    )
    train = steps.training(prepare)
    model = train.properties.ModelArtifacts.S3ModelArtifacts
    decision = PropertyFile(name="Decision", output_name="decision", path="decision.json")
    evaluate = steps.processing(
        "Evaluate",
        "evaluate",
        {"model": model, "baseline": told["CheckpointUri"], "dataset": told["DatasetUri"]},
        ("report", "baseline", "decision"),
        {
            "new_phrases": told["NewPhrases"],
            "gain": told["Gain"],
            "fall": told["Fall"],
            "false_alarms": told["FalseAlarms"],
        },
        (decision,),
    )
    export = steps.processing(
        "Export",
        "export",
        {"model": model, "dataset": told["DatasetUri"]},
        ("bundle", "parity"),
        {
            "bundle_name": told["BundleName"],
            "bundle_version": told["BundleVersion"],
            "precision": told["Precision"],
            "phrases": told["Phrases"],
        },
    )
    register = steps.processing(
        "Register",
        "register",
        {
            "bundle": _made(export, "bundle"),
            "report": _made(evaluate, "report"),
            "summary": _made(prepare, "summary"),
        },
        ("registration",),
        {
            "group": told["ModelPackageGroup"],
            "bundle_uri": _made(export, "bundle"),
            "report_uri": _made(evaluate, "report"),
            "parity_uri": _made(export, "parity"),
            "image": told["ServingImageUri"],
            "code_revision": told["CodeRevision"],
            "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
        },
    )
    turned_down = FailStep(
        name="TurnedDown",
        error_message="the candidate may not replace the model before; decision.json of the step Evaluate says why",
    )

    def measured(name: str) -> JsonGet:
        return JsonGet(step_name=evaluate.name, property_file=decision, json_path=name)

    better = ConditionStep(
        name="IsBetter",
        conditions=[
            ConditionGreaterThanOrEqualTo(left=measured("gain"), right=told["Gain"]),
            ConditionLessThanOrEqualTo(left=measured("fall"), right=told["Fall"]),
            ConditionLessThanOrEqualTo(left=measured("false_alarms"), right=told["FalseAlarms"]),
        ],
        if_steps=[export, register],
        else_steps=[turned_down],
    )
    pipeline = Pipeline(
        name="sam3edge",
        parameters=list(told.values()),
        steps=[prepare, train, evaluate, better],
        sagemaker_session=session,
    )
    definition: dict[str, Any] = json.loads(pipeline.definition())
    return definition


class _Steps:
    """Makes steps that run in our image."""

    def __init__(self, session: PipelineSession, told: dict[str, PipelineVariable]) -> None:
        self._session = session
        self._told = told

    def processing(
        self,
        name: str,
        module: str,
        inputs: dict[str, Any],
        outputs: tuple[str, ...],
        told: dict[str, Any],
        property_files: tuple[PropertyFile, ...] = (),
    ) -> ProcessingStep:
        """A step of ``sam3edge_pipeline.steps``."""
        processor = Processor(
            role=ROLE,
            image_uri=self._told["ImageUri"],
            entrypoint=["python", "-m", f"{MODULE}.{module}"],
            instance_count=1,
            instance_type=self._told["ProcessingInstance"],
            volume_size_in_gb=VOLUME_GB,
            max_runtime_in_seconds=6 * 3600,
            sagemaker_session=self._session,
        )
        arguments = processor.run(
            inputs=[_input(key, uri) for key, uri in inputs.items()],
            outputs=[self._output(name, key) for key in outputs],
            arguments=[Join(on="=", values=[key, value]) for key, value in told.items()],
        )
        return ProcessingStep(
            name=name,
            step_args=arguments,
            property_files=list(property_files),
            cache_config=CacheConfig(enable_caching=False),
        )

    def training(self, after: ProcessingStep) -> TrainingStep:
        """The training step."""
        told = self._told
        trainer = ModelTrainer(
            training_image=told["ImageUri"],
            role=ROLE,
            sagemaker_session=self._session,
            base_job_name="sam3edge-train",
            compute=Compute(
                instance_type=told["TrainingInstance"],
                instance_count=1,
                volume_size_in_gb=VOLUME_GB,
                enable_managed_spot_training=True,
            ),
            stopping_condition=StoppingCondition(
                max_runtime_in_seconds=TRAINING_HOURS * 3600, max_wait_time_in_seconds=2 * TRAINING_HOURS * 3600
            ),
            hyperparameters={
                "new_phrases": told["NewPhrases"],
                "adaptation": told["Adaptation"],
                # SageMaker takes strings only, and reads a joined number as one
                **{name: Join(on="", values=[told[parameter]]) for name, parameter in NUMBERS.items()},
            },
            output_data_config=OutputDataConfig(
                s3_output_path=Join(
                    on="/", values=[told["OutputUri"], ExecutionVariables.PIPELINE_EXECUTION_ID, "train"]
                )
            ),
            checkpoint_config=CheckpointConfig(
                s3_uri=Join(on="/", values=[told["OutputUri"], ExecutionVariables.PIPELINE_EXECUTION_ID, "checkpoints"])
            ),
        )
        arguments = trainer.train(
            input_data_config=[
                InputData(channel_name="dataset", data_source=told["DatasetUri"]),
                InputData(channel_name="checkpoint", data_source=told["CheckpointUri"]),
            ]
        )
        return TrainingStep(name="Train", step_args=arguments, depends_on=[after])

    def _output(self, step: str, name: str) -> ProcessingOutput:
        uri = Join(
            on="/",
            values=[self._told["OutputUri"], ExecutionVariables.PIPELINE_EXECUTION_ID, step.lower(), name],
        )
        place = ProcessingS3Output(s3_uri=uri, local_path=f"{OUTPUT}/{name}", s3_upload_mode="EndOfJob")
        return ProcessingOutput(output_name=name, s3_output=place)


def _parameter(name: str, value: str | float | int) -> PipelineVariable:
    kind = {str: ParameterString, int: ParameterInteger, float: ParameterFloat}[type(value)]
    return kind(name=name, default_value=value)


def _input(name: str, uri: Any) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=uri,
            local_path=f"{INPUT}/{name}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        ),
    )


def _made(step: ProcessingStep, output: str) -> Any:
    return step.properties.ProcessingOutputConfig.Outputs[output].S3Output.S3Uri


def main() -> None:
    """Write the definition, or check that it is the one that is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail when what is kept is not what would be written")
    check = parser.parse_args().check
    text = json.dumps(build(), indent=1, sort_keys=True) + "\n"
    if not check:
        DEFINITION.write_text(text, encoding="utf-8")
    elif DEFINITION.read_text(encoding="utf-8") != text:
        sys.exit(f"{DEFINITION} is not what the code defines; run python -m sam3edge_pipeline.definition.build")


if __name__ == "__main__":
    main()
