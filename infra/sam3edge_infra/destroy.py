"""``make destroy``: what CloudFormation has not made, and what it deletes only when nothing is in it.

    python -m sam3edge_infra.destroy --stage dev [--yes]

First the stage's name is asked for, since nothing of this comes back. Then go the devices, the claims and what the
roll-out has made (``devices.py``), the model packages, the keys of the API, and what is in the buckets
(``emptying.py``). ``cdk destroy`` follows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.checks import expect_deletable, session_of
from sam3edge_infra.command_line import add_stage, exit_status, parser_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.devices import devices_of
from sam3edge_infra.emptying import empty
from sam3edge_infra.stacks.api import usage_plan_name
from sam3edge_infra.stacks.registry import registry_of
from sam3edge_infra.stacks.training import training_of
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import Stage

UNFINISHED = frozenset({"Executing", "Stopping"})
"""States of an execution of the training pipeline, which cannot be deleted meanwhile, nor the network of its jobs."""


def confirm(stage: Stage, ask: Callable[[str], str]) -> None:
    """Ask a person.

    Args:
        ask: shows a prompt and returns a line.

    Raises:
        SettingsError: the answer is not the stage's name.
    """
    prompt = (
        f"Devices, models, data and stacks of {stage.name} in account {stage.account}, {stage.region}, are deleted "
        "for good. To go on, its name: "
    )
    try:
        given = ask(prompt).strip()
    except EOFError:
        given = ""
    if given != stage.name:
        raise SettingsError(f"expected {stage.name}, got {given!r}; nothing was deleted")


def expect_idle(sagemaker: Any, pipeline: str) -> None:
    """Check that nothing is being trained.

    Args:
        sagemaker: boto3's client.

    Raises:
        SettingsError: an execution of the pipeline has not ended.
    """
    pages = sagemaker.get_paginator("list_pipeline_executions").paginate(PipelineName=pipeline)
    try:
        found = [one for page in pages for one in page["PipelineExecutionSummaries"]]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ResourceNotFound", "ValidationException"):
            raise
        return  # its stack is gone, or was never there
    running = [one["PipelineExecutionArn"] for one in found if one["PipelineExecutionStatus"] in UNFINISHED]
    if running:
        raise SettingsError(
            f"expected no training in progress, got {', '.join(running)}; wait, or stop it by "
            "aws sagemaker stop-pipeline-execution; nothing was deleted"
        )


def delete_packages(sagemaker: Any, group: str) -> int:
    """Delete the model packages of a group, which could not be deleted with them; how many there were."""
    pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    try:
        arns = [one["ModelPackageArn"] for page in pages for one in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ResourceNotFound", "ValidationException"):
            raise
        return 0
    for arn in arns:
        sagemaker.delete_model_package(ModelPackageName=arn)
    return len(arns)


def delete_keys(gateway: Any, plan: str) -> int:
    """Delete the keys that ``key_admin`` has entered in a usage plan, which stay when it goes; how many there were.

    Args:
        gateway: boto3's client of ``apigateway``.
        plan: its name.
    """
    plans = [one for page in gateway.get_paginator("get_usage_plans").paginate() for one in page["items"]]
    keys = [
        key["id"]
        for one in plans
        if one["name"] == plan
        for page in gateway.get_paginator("get_usage_plan_keys").paginate(usagePlanId=one["id"])
        for key in page["items"]
    ]
    for key in keys:
        gateway.delete_api_key(apiKey=key)
    return len(keys)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.destroy", __doc__)
    add_stage(parser)
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    given = parser.parse_args(arguments)
    return exit_status(lambda: _destroy(given))


def _destroy(given: argparse.Namespace) -> None:
    stage = read_stage(given.stage)
    expect_deletable(stage)
    naming, session = naming_of(stage), session_of(stage)
    sagemaker = session.client("sagemaker")
    expect_idle(sagemaker, training_of(naming).pipeline_name)
    if not given.yes:
        confirm(stage, input)
    devices_of(stage, session).retire()
    packages = delete_packages(sagemaker, registry_of(naming).group_name)
    keys = delete_keys(session.client("apigateway"), usage_plan_name(naming))
    objects = empty(session.resource("s3"), stage)
    sys.stdout.write(f"deleted: all devices, {packages} model packages, {keys} API keys, {objects} objects\n")


if __name__ == "__main__":
    sys.exit(main())
