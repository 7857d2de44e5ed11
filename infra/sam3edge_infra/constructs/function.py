"""A Lambda function in a container image, with a log group of its own and a role that may write to that alone.

What else it may do is granted by its stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from sam3edge_infra.constructs.images import Image
from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming


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
    """The function, which may write its log."""
    made = spec.name.title().replace("-", "").replace("_", "")
    name = naming(spec.name.replace("_", "-"))
    log = log_group(scope, f"{made}Log", f"/aws/lambda/{name}")
    role = iam.Role(
        scope, f"{made}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=spec.description
    )
    log.grant_write(role)
    return lambda_.DockerImageFunction(
        scope,
        f"{made}Function",
        function_name=name,
        description=spec.description,
        code=lambda_.DockerImageCode.from_ecr(image.repository, tag_or_digest=image.tag, cmd=[spec.handler]),
        architecture=lambda_.Architecture.X86_64,
        environment=dict(spec.environment),
        timeout=cdk.Duration.seconds(spec.seconds),
        memory_size=spec.memory_mb,
        ephemeral_storage_size=cdk.Size.mebibytes(spec.disk_mb),
        role=role,
        log_group=log,
    )
