"""The stack that all stacks are: in one account and region, and without questions to AWS when it is synthesised."""

from __future__ import annotations

import aws_cdk as cdk
from constructs import Construct

from sam3edge_infra.constructs.names import Naming


class StageStack(cdk.Stack):
    """A stack of a stage, called ``sam3edge-<stage>-<name>``."""

    def __init__(self, scope: Construct, name: str, naming: Naming, description: str) -> None:
        super().__init__(
            scope,
            name,
            stack_name=naming(name),
            env=cdk.Environment(account=naming.account, region=naming.region),
            description=description,
            termination_protection=naming.removal == cdk.RemovalPolicy.RETAIN,
            tags={"sam3edge:stage": naming.stage},
        )

    @property
    def availability_zones(self) -> list[str]:
        """The zones of the region by their number: CDK would ask the account for their names, which needs one."""
        zones = cdk.Fn.get_azs()
        return [cdk.Fn.select(number, zones) for number in range(3)]
