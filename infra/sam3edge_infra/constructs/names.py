"""What a stack knows of its stage: how its resources are called, and what becomes of data.

Everything has a name that follows from the stage. So policies name what they are about, stacks need no exports of each
other (``app.py`` says which comes after which), and what is outside, devices above all, can be told beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk

from sam3edge_infra.stages.stage import Stage

PARTITION = "aws"
"""Of all regions that a stage may name."""


@dataclass(frozen=True, slots=True)
class BucketName:
    """A bucket by its name."""

    name: str

    @property
    def arn(self) -> str:
        """Of the bucket itself."""
        return f"arn:{PARTITION}:s3:::{self.name}"

    def below(self, *prefixes: str) -> list[str]:
        """ARNs of all objects below prefixes, which end with a slash."""
        return [f"{self.arn}/{prefix}*" for prefix in prefixes]

    def uri(self, key: str = "") -> str:
        """Address of a key or prefix."""
        return f"s3://{self.name}/{key}"


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

    def bucket(self, name: str) -> BucketName:
        """Name of a bucket, which is alone in the world."""
        return BucketName(f"{self(name)}-{self.account}-{self.region}")

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the account and region."""
        return f"arn:{PARTITION}:{service}:{self.region}:{self.account}:{resource}"

    def table_arn(self, name: str) -> str:
        """ARN of a table that ``on_demand_table`` makes under that name."""
        return self.arn("dynamodb", f"table/{self(name)}")

    def queue_arn(self, name: str) -> str:
        """ARN of a queue that ``queue_with_dead_letters`` makes under that name."""
        return self.arn("sqs", self(name))

    def function_arn(self, name: str) -> str:
        """ARN of a function that ``constructs/function.py`` makes under that name."""
        return self.arn("lambda", f"function:{self(name.replace('_', '-'))}")

    def machine_arn(self, name: str) -> str:
        """ARN of a state machine of that name."""
        return self.arn("states", f"stateMachine:{self(name)}")


def naming_of(stage: Stage) -> Naming:
    """The names of a stage."""
    removal = cdk.RemovalPolicy.RETAIN if stage.data == "keep" else cdk.RemovalPolicy.DESTROY
    return Naming(stage.name, stage.account, stage.region, removal)
