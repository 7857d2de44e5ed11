"""What a stack knows of its stage: how its resources are called, and what becomes of data."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk

from sam3edge_infra.stages.stage import Stage


@dataclass(frozen=True, slots=True)
class Naming:
    """Names in one account and region.

    Attributes:
        stage: name of the stage.
        removal: what becomes of what holds data when its stack is deleted.
    """

    stage: str
    account: str
    region: str
    removal: cdk.RemovalPolicy

    def __call__(self, name: str) -> str:
        """Name of a resource, which is alone in its account and region."""
        return f"sam3edge-{self.stage}-{name}"

    def bucket(self, name: str) -> str:
        """Name of a bucket, which is alone in the world."""
        return f"{self(name)}-{self.account}-{self.region}"

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the account and region; the partition is found when the stack is deployed."""
        return f"arn:{cdk.Aws.PARTITION}:{service}:{self.region}:{self.account}:{resource}"


def naming_of(stage: Stage) -> Naming:
    """The names of a stage."""
    removal = cdk.RemovalPolicy.RETAIN if stage.data == "keep" else cdk.RemovalPolicy.DESTROY
    return Naming(stage.name, stage.account, stage.region, removal)
