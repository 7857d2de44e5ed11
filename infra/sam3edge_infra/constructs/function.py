"""A Lambda function, with a log group of its own and a role that may write to that alone.

What else it may do is granted by its stack. Functions are container images; the one that AWS IoT Core waits five
seconds for is a zip, which starts sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from sam3edge_infra.constructs.images import Image
from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming

RUNTIME = lambda_.Runtime.PYTHON_3_14
"""Of functions that are zips: the newest, which cdk-nag asks for."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What a function is.

    Attributes:
        handler: dotted name of the Python function.
        seconds, memory_mb, disk_mb: its limits; ``disk_mb`` is of ``/tmp``.
    """

    name: str
    handler: str
    description: str
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: int = 60
    memory_mb: int = 512
    disk_mb: int = 512


def image_function(scope: Construct, spec: FunctionSpec, naming: Naming, image: Image) -> lambda_.DockerImageFunction:
    """The function in a container image."""
    return lambda_.DockerImageFunction(
        scope,
        f"{_made(spec)}Function",
        code=lambda_.DockerImageCode.from_ecr(image.repository, tag_or_digest=image.tag, cmd=[spec.handler]),
        **_properties(scope, spec, naming),
    )


def zip_function(scope: Construct, spec: FunctionSpec, naming: Naming, folder: Path) -> lambda_.Function:
    """The function as a zip of a folder, for code that needs nothing beside it but boto3, which Lambda's runtime has.

    Args:
        spec: its handler is named from the folder on.
    """
    return lambda_.Function(
        scope,
        f"{_made(spec)}Function",
        runtime=RUNTIME,
        handler=spec.handler,
        code=lambda_.Code.from_asset(str(folder), exclude=["__pycache__"]),
        **_properties(scope, spec, naming),
    )


def _properties(scope: Construct, spec: FunctionSpec, naming: Naming) -> dict[str, Any]:
    """What a function has, however it is packed: its role may write its log."""
    name = naming(spec.name.replace("_", "-"))
    log = log_group(scope, f"{_made(spec)}Log", f"/aws/lambda/{name}")
    role = iam.Role(
        scope,
        f"{_made(spec)}Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=spec.description,
    )
    log.grant_write(role)
    return {
        "function_name": name,
        "description": spec.description,
        "architecture": lambda_.Architecture.X86_64,
        "environment": dict(spec.environment),
        "timeout": cdk.Duration.seconds(spec.seconds),
        "memory_size": spec.memory_mb,
        "ephemeral_storage_size": cdk.Size.mebibytes(spec.disk_mb),
        "role": role,
        "log_group": log,
    }


def _made(spec: FunctionSpec) -> str:
    """What logical ids begin with."""
    return spec.name.title().replace("-", "").replace("_", "")
