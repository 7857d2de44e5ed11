"""A pipeline that tests and deploys what is pushed: CDK Pipelines on CodePipeline.

    source -> make test -> synthesis -> the pipeline itself -> assets -> buckets -> artifacts of components -> the other
    stacks -> labels are asked for

It is deployed by hand once and changes itself afterwards. What follows a deployment runs by events and is not part of
it: uploads, the schedule and labels start training (``stacks/training.py``), and the registry's approval the roll-out
(``stacks/rollout.py``). So a model reaches devices without a deployment, and code without an approval reaches none.
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_codecommit as codecommit
from aws_cdk import aws_codepipeline as codepipeline
from aws_cdk import aws_codepipeline_actions as pipeline_actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import pipelines
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.bucket import private_bucket
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account, limit_trusts
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.wildcards import Wildcard, accept_wildcards
from sam3edge_infra.stacks.storage import storage_of
from sam3edge_infra.stages.delivery import CodeCommitSource, CodeConnectionSource, Delivery, S3Source

PYTHON, NODE = "3.12", "22"
"""Of CodeBuild's own image, beside the one of tests."""

TEST_IMAGE = "public.ecr.aws/docker/library/node:22.14.0-bookworm"
"""What ``.ci/run`` can work on: Debian, whose packages it installs, with make and compilers, and the dev container's
Node.js. CodeBuild's own image is Ubuntu, which has no Chromium but a snap."""

TEST_INSTALL = ("apt-get update -qq", "apt-get install -y -qq --no-install-recommends python3-venv")
"""What the image lacks: Debian has it beside its Python."""

CDK_CLI, CDK_ASSETS = "2.1148.1", "4.7.3"
"""Pinned: npm's ``latest`` is not always the greatest of version 2."""

ASSEMBLY = "build/cdk.out"
INSTALL = "python -m pip install --quiet -c constraints.txt -e '.[infra]'"
TEST_MINUTES = 120
BUCKETS = ("delivery", "delivery-logs")
"""Of artifacts, and of the requests for them: the storage stack's logs come later than this stack."""

HISTORY_DAYS = 30
"""That artifacts of executions are kept."""

LABEL_FUNCTION = "retrain-label"
"""Of ``stacks/training.py``."""

UPLOADS = ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
"""What ``sam3edge_infra.components`` does with artifacts."""

ACCEPTED = (
    Wildcard(
        frozenset(UPLOADS),
        r"arn:aws:s3:::sam3edge-[a-z0-9]+-artifacts-[a-z0-9-]+/\*",
        "artifacts of components: everything in their bucket, and in no other",
    ),
    Wildcard(
        frozenset({"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}),
        r"arn:aws:logs:[^*]*:log-group:/aws/codebuild/(\*|<\w+>:\*)",
        "CodeBuild's own logs: streams, and groups of projects, have names that it gives them",
    ),
    Wildcard(
        frozenset(
            f"codebuild:{name}"
            for name in (
                *("CreateReportGroup", "CreateReport", "UpdateReport"),
                *("BatchPutTestCases", "BatchPutCodeCoverages"),
            )
        ),
        r"arn:aws:codebuild:[^*]*:report-group/(\*|<\w+>-\*)",
        "CodeBuild's own reports, which are named when they are made",
    ),
    Wildcard(
        frozenset({"sts:AssumeRole"}),
        r"arn:\*:iam::\d{12}:role/\*",
        "roles that cdk bootstrap has made, and no others: their tag aws-cdk:bootstrap-role is a condition",
    ),
    Wildcard(
        frozenset({"cloudformation:DescribeStacks", "s3:ListBucket"}),
        r"\*",
        "before it changes itself the pipeline looks for the stack and bucket of cdk bootstrap; it reads no objects",
    ),
    Wildcard(
        frozenset({"codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild"}),
        r"\*",
        "CDK Pipelines gives it to the role that publishes assets, which nobody but CodeBuild may assume",
    ),
    Wildcard(
        frozenset(
            f"s3:{name}"
            for name in (
                *("Abort*", "DeleteObject*", "GetBucket*", "GetObject*", "List*"),
                *(
                    "PutObject",
                    "PutObjectLegalHold",
                    "PutObjectRetention",
                    "PutObjectTagging",
                    "PutObjectVersionTagging",
                ),
            )
        ),
        r"<Delivery\w+\.Arn>(/\*)?",
        "artifacts of the pipeline in a bucket of its own, which are named when they are made",
    ),
    Wildcard(
        frozenset({"s3:GetBucket*", "s3:GetObject*", "s3:List*"}),
        r"arn:aws:s3:::[a-z0-9.-]+(/[^*]+)?",
        "reads the zip of the sources, in any version",
    ),
)
"""In what CDK Pipelines makes."""

UNENCRYPTED = "artifacts are encrypted by S3 in a private bucket; a key of their own would cost and add nothing"
DEBIAN = "the tests install packages of Debian; CodeBuild's own images are Ubuntu and Amazon Linux"


class DeliveryStack(StageStack):
    """The pipeline of a stage; ``deploy`` says what it deploys."""

    def __init__(self, scope: Construct, naming: Naming, options: Delivery) -> None:
        super().__init__(scope, "delivery", naming, "sam3edge: the pipeline that deploys the other stacks")
        self._naming = naming
        self._options = options
        kept, logged = BUCKETS
        logs = private_bucket(self, logged, naming, None, expiring={"": HISTORY_DAYS})
        artifacts = private_bucket(self, kept, naming, logs, expiring={"": HISTORY_DAYS})
        self._source = source = source_of(self, options.source)
        test = pipelines.CodeBuildStep(
            "Test",
            input=source,
            install_commands=list(TEST_INSTALL),
            commands=[".ci/run"],
            build_environment=codebuild.BuildEnvironment(
                compute_type=codebuild.ComputeType.LARGE,
                build_image=codebuild.LinuxBuildImage.from_docker_registry(TEST_IMAGE),
            ),
            timeout=cdk.Duration.minutes(TEST_MINUTES),
        )
        synth = pipelines.CodeBuildStep(
            "Synth",
            input=source,
            install_commands=[INSTALL],
            commands=[f"python -m sam3edge_infra.app --stage {naming.stage} --out {ASSEMBLY}"],
            partial_build_spec=versions(python=PYTHON, nodejs=NODE),
            primary_output_directory=ASSEMBLY,
        )
        synth.add_step_dependency(test)
        self._pipeline = pipelines.CodePipeline(
            self,
            "Pipeline",
            pipeline_name=naming("delivery"),
            pipeline_type=codepipeline.PipelineType.V2,
            execution_mode=codepipeline.ExecutionMode.QUEUED,
            artifact_bucket=artifacts,
            cross_account_keys=False,
            synth=synth,
            cli_version=CDK_CLI,
            cdk_assets_cli_version=CDK_ASSETS,
            self_mutation=True,
            publish_assets_in_parallel=False,
            use_pipeline_role_for_actions=True,
            code_build_defaults=pipelines.CodeBuildOptions(
                build_environment=codebuild.BuildEnvironment(build_image=codebuild.LinuxBuildImage.STANDARD_7_0)
            ),
            self_mutation_code_build_defaults=pipelines.CodeBuildOptions(partial_build_spec=versions(nodejs=NODE)),
            asset_publishing_code_build_defaults=pipelines.CodeBuildOptions(partial_build_spec=versions(nodejs=NODE)),
        )
        self._starts(options)

    def deploy(self, stage: cdk.Stage, storage: cdk.Stack) -> None:
        """Deploy the stacks of a stage, in their order; nothing can be added to the pipeline any more.

        Args:
            storage: the stack of buckets, which artifacts of components are uploaded to before the others come.
        """
        before = [pipelines.ManualApprovalStep("Approve")] if self._options.approval == "manual" else []
        after = [self._ask_for_labels()] if self._options.after == "label" else []
        uploading = pipelines.StackSteps(stack=storage, post=[self._upload_components()])
        self._pipeline.add_stage(stage, pre=before, post=after, stack_steps=[uploading])
        self._pipeline.build_pipeline()
        self._may_use_connection()
        self._accept()

    def _may_use_connection(self) -> None:
        """CDK allows it by the old prefix of CodeConnections; that of an action has to be its resource's."""
        source = self._options.source
        if isinstance(source, CodeConnectionSource) and source.connection.split(":")[2] == "codeconnections":
            allow(self._pipeline.pipeline.role, Statement(["codeconnections:UseConnection"], [source.connection]))

    def _upload_components(self) -> pipelines.CodeBuildStep:
        """As ``make deploy`` does: Greengrass reads artifacts when the fleet's stack makes a component version."""
        artifacts = storage_of(self._naming).artifacts
        return pipelines.CodeBuildStep(
            "Components",
            input=self._source,
            install_commands=[INSTALL],
            commands=[f"python -m sam3edge_infra.components --stage {self._naming.stage}"],
            partial_build_spec=versions(python=PYTHON),
            role_policy_statements=[
                iam.PolicyStatement(actions=["s3:ListBucket"], resources=[artifacts.arn]),
                iam.PolicyStatement(actions=list(UPLOADS), resources=artifacts.below("")),
            ],
        )

    def _ask_for_labels(self) -> pipelines.CodeBuildStep:
        """What ``training.schedule`` does too, by the same function."""
        function = self._naming(LABEL_FUNCTION)
        event = '"{\\"time\\": \\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\"}"'
        invoke = (
            f"aws lambda invoke --function-name {function} --cli-binary-format raw-in-base64-out --payload {event} "
            "--query FunctionError --output text result.json"
        )
        return pipelines.CodeBuildStep(
            "AskForLabels",
            commands=[f"error=$({invoke})", "cat result.json", 'test "$error" = None'],
            role_policy_statements=[
                iam.PolicyStatement(
                    actions=["lambda:InvokeFunction"], resources=[self._naming.function_arn(LABEL_FUNCTION)]
                )
            ],
        )

    def _starts(self, options: Delivery) -> None:
        """What starts the pipeline beside pushes, of which CodePipeline knows itself."""
        naming = self._naming
        patterns: dict[str, dict[str, Any]] = {}
        if options.schedule is not None:
            patterns["delivery-due"] = {"schedule_expression": options.schedule}
        if isinstance(options.source, S3Source):
            patterns["delivery-source"] = {"event_pattern": uploaded(options.source)}
        if not patterns:
            return
        pipeline = naming.arn("codepipeline", naming("delivery"))
        role = iam.Role(
            self,
            "StartRole",
            assumed_by=for_account("events.amazonaws.com", naming),
            description="Rules that start the delivery",
        )
        allow(role, Statement(["codepipeline:StartPipelineExecution"], [pipeline]))
        target = events.CfnRule.TargetProperty(id="pipeline", arn=pipeline, role_arn=role.role_arn)
        for name, what in patterns.items():
            events.CfnRule(self, name, name=naming(name), state="ENABLED", targets=[target], **what)

    def _accept(self) -> None:
        """What CDK Pipelines makes: its roles are the account's services' alone, and what cdk-nag finds is accepted."""
        limit_trusts(self._pipeline, self._naming)
        accept_wildcards(self._pipeline, ACCEPTED)
        acknowledge(self._pipeline, {"AwsSolutions-CB4": UNENCRYPTED, "AwsSolutions-CB5": DEBIAN})


def versions(**of: str) -> codebuild.BuildSpec:
    """Of what CodeBuild's own image has several of; of another image they are not accepted."""
    return codebuild.BuildSpec.from_object({"phases": {"install": {"runtime-versions": of}}})


def source_of(
    scope: Construct, source: CodeConnectionSource | CodeCommitSource | S3Source
) -> pipelines.CodePipelineSource:
    """Where the sources come from, by pushes; of S3 by the rule ``uploaded``."""
    if isinstance(source, CodeConnectionSource):
        return pipelines.CodePipelineSource.connection(
            source.repository, source.branch, connection_arn=source.connection, action_name="Source"
        )
    if isinstance(source, CodeCommitSource):
        repository = codecommit.Repository.from_repository_name(scope, "Repository", source.repository)
        return pipelines.CodePipelineSource.code_commit(repository, source.branch, action_name="Source")
    bucket = s3.Bucket.from_bucket_name(scope, "Sources", source.bucket)
    return pipelines.CodePipelineSource.s3(
        bucket, source.key, action_name="Source", trigger=pipeline_actions.S3Trigger.NONE
    )


def uploaded(source: S3Source) -> dict[str, Any]:
    """Sources that were uploaded to a bucket, which tells EventBridge what happens in it."""
    return {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": [source.bucket]}, "object": {"key": [source.key]}},
    }
