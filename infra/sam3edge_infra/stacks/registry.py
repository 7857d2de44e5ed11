"""The model package group: what is trained is registered in it and waits for a person's approval."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.stack import StageStack


@dataclass(frozen=True, slots=True)
class Registry:
    """What other stacks get.

    Attributes:
        packages_arn: of all packages of the group.
    """

    group_name: str
    group_arn: str
    packages_arn: str

    def package_arn(self, version: int) -> str:
        """ARN of one package."""
        return f"{self.packages_arn.removesuffix('*')}{version}"


def registry_of(naming: Naming) -> Registry:
    """The registry of a stage."""
    group = naming("models")
    return Registry(
        group,
        naming.arn("sagemaker", f"model-package-group/{group}"),
        naming.arn("sagemaker", f"model-package/{group}/*"),
    )


class RegistryStack(StageStack):
    """The model package group."""

    def __init__(self, scope: Construct, naming: Naming) -> None:
        super().__init__(scope, "registry", naming, "sam3edge: model registry")
        self.registry = registry_of(naming)
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Models",
            model_package_group_name=self.registry.group_name,
            model_package_group_description="SAM 3 bundles for edge devices",
        )
        group.apply_removal_policy(naming.removal)
