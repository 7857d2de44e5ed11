"""What each function of the roll-out may do. ``tests/unit/infra/test_access.py`` compares it with what they call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import NO_RESOURCES, Statement
from sam3edge_infra.stacks.registry import Registry
from sam3edge_infra.stacks.storage import BUNDLES_PREFIX, Storage
from sam3edge_pipeline.greengrass_build.build import NAMES

_OF_PACKAGES = "versions are counted by SageMaker; all packages are of the stage's own group"
_OF_VERSIONS = "versions of the stage's components, which the roll-out itself makes"
_OF_DEPLOYMENTS = "Greengrass chooses the ids of deployments; the groups that they go to are named"
_OF_JOBS = "a deployment's job is named by Greengrass, and so are the shares of a job with each thing"


@dataclass(frozen=True, slots=True)
class Access:
    """Statements by task.

    Attributes:
        groups: ARNs of the thing groups ``canary`` and ``fleet``.
    """

    naming: Naming
    storage: Storage
    registry: Registry
    groups: Mapping[str, str]

    def of(self, task: str) -> tuple[Statement, ...]:
        """What a function may do beside writing its log.

        Raises:
            KeyError: there is no such function.
        """
        return {
            "start": (self._starts(),),
            "observe": (self._takes_observations(), self._lists_devices(), self._keeps_observations()),
            "claim": (self._records("dynamodb:PutItem"),),
            "check": (self._reads_packages(),),
            "publish": (self._reads_packages(), *self._publishes()),
            "published": (self._reads_components(),),
            "prepare": (
                *self._reads_deployments(),
                self._lists_deployments(),
                self._lists_devices(),
                self._reads_observations(),
                self._records("dynamodb:GetItem", "dynamodb:PutItem"),
            ),
            "deploy": (*self._reads_deployments(), *self._deploys()),
            "progress": self._reads_deployments(),
            "judge": (
                self._reads_packages(),
                *self._reads_deployments(),
                self._lists_devices(),
                self._reads_observations(),
            ),
            "roll_back": (
                *self._reads_deployments(),
                self._lists_deployments(),
                *self._deploys(),
                self._records("dynamodb:GetItem"),
            ),
            "rolled_back": self._reads_deployments(),
            "record": (
                *self._reads_deployments(),
                self._records("dynamodb:PutItem", "dynamodb:DeleteItem"),
            ),
        }[task]

    def _starts(self) -> Statement:
        return Statement(["states:StartExecution"], [self.naming.machine_arn("rollout")])

    def _records(self, *actions: str) -> Statement:
        return Statement(actions, [self.naming.table_arn("rollout-records")])

    def _takes_observations(self) -> Statement:
        return Statement(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            [self.naming.queue_arn("observations")],
        )

    def _keeps_observations(self) -> Statement:
        return Statement(["dynamodb:BatchWriteItem"], [self.naming.table_arn("rollout-observations")])

    def _reads_observations(self) -> Statement:
        return Statement(["dynamodb:Query"], [self.naming.table_arn("rollout-observations")])

    def _reads_packages(self) -> Statement:
        return Statement(["sagemaker:DescribeModelPackage"], [self.registry.packages_arn], _OF_PACKAGES)

    def _components(self) -> list[str]:
        return [self.naming.arn("greengrass", f"components:{name}") for name in NAMES.values()]

    def _versions(self) -> list[str]:
        return [f"{arn}:versions:*" for arn in self._components()]

    def _reads_components(self) -> Statement:
        return Statement(["greengrass:DescribeComponent"], self._versions(), _OF_VERSIONS)

    def _publishes(self) -> tuple[Statement, ...]:
        artifacts = self.storage.artifacts.below(*(f"{name}/" for name in NAMES.values()))
        return (
            Statement(["greengrass:ListComponentVersions"], self._components()),
            self._reads_components(),
            Statement(
                ["greengrass:CreateComponentVersion", "greengrass:TagResource"],
                [*self._components(), *self._versions()],
                _OF_VERSIONS,
            ),
            Statement(
                ["s3:GetObject"],
                self.storage.learning.below(*BUNDLES_PREFIX),
                "a bundle is a prefix that the pipeline chooses by its execution",
            ),
            Statement(
                ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"],
                artifacts,
                "artifacts are below their version; Greengrass reads them as whoever makes the version",
            ),
        )

    def _reads_deployments(self) -> tuple[Statement, ...]:
        """Greengrass asks IoT for a deployment's job and group as whoever calls it."""
        return (
            Statement(["greengrass:GetDeployment"], [self.naming.arn("greengrass", "deployments:*")], _OF_DEPLOYMENTS),
            Statement(["iot:DescribeThingGroup"], list(self.groups.values())),
            self._reads_jobs(),
        )

    def _lists_deployments(self) -> Statement:
        return Statement(["greengrass:ListDeployments"], ["*"], NO_RESOURCES)

    def _deploys(self) -> tuple[Statement, ...]:
        """Greengrass makes a deployment's job as whoever calls it; so it is the job's target that is limited."""
        return (
            Statement(["greengrass:CreateDeployment"], ["*"], NO_RESOURCES + "; iot:CreateJob names the groups"),
            Statement(["iot:CreateJob"], [self.naming.arn("iot", "job/*"), *self.groups.values()], _OF_JOBS),
            Statement(["iot:CancelJob", "iot:UpdateJob"], [self.naming.arn("iot", "job/*")], _OF_JOBS),
        )

    def _reads_jobs(self) -> Statement:
        return Statement(["iot:DescribeJob"], [self.naming.arn("iot", "job/*")], _OF_JOBS)

    def _lists_devices(self) -> Statement:
        return Statement(["greengrass:ListCoreDevices"], ["*"], NO_RESOURCES)
