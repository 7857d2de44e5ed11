"""The application: a stage becomes stacks.

    python -m sam3edge_infra.app --stage dev [--out cdk.out]

Needs neither an account nor Docker, the CDK's command line nor a network. What cdk-nag finds and nobody has
acknowledged stops it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from sam3edge.core.errors import SettingsError
from sam3edge_infra.command_line import parser_of
from sam3edge_infra.constructs.images import Images, images_of
from sam3edge_infra.constructs.names import Naming, naming_of
from sam3edge_infra.constructs.watched import watched_in
from sam3edge_infra.stacks.api import ApiStack
from sam3edge_infra.stacks.delivery import DeliveryStack
from sam3edge_infra.stacks.endpoint import EndpointStack, endpoint_of, serving_image
from sam3edge_infra.stacks.fleet import FleetStack
from sam3edge_infra.stacks.labeling import LabelingStack
from sam3edge_infra.stacks.live_page import LivePageStack
from sam3edge_infra.stacks.monitoring import MonitoringStack
from sam3edge_infra.stacks.network import NetworkStack
from sam3edge_infra.stacks.registry import RegistryStack
from sam3edge_infra.stacks.rollout import RolloutStack
from sam3edge_infra.stacks.simulator import SimulatorStack
from sam3edge_infra.stacks.storage import StorageStack
from sam3edge_infra.stacks.training import TrainingStack
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import NoEndpoint, Stage

FLAGS = {
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,  # logs without access control lists
    "@aws-cdk/aws-iam:minimizePolicies": True,  # statements that say the same are one: policies have a limit in bytes
    "@aws-cdk/core:target-partitions": ["aws"],
    "@aws-cdk/core:enablePartitionLiterals": True,
    "@aws-cdk/aws-ec2:restrictDefaultSecurityGroup": False,  # it would take a function that may change security groups
    "@aws-cdk/core:suppressTemplateIndentation": False,
}
"""CDK's own switches, so that a template does not depend on whose ``cdk.json`` is near."""


@dataclass(frozen=True, slots=True)
class Built:
    """An application that was put together, not yet synthesised."""

    app: cdk.App
    stacks: tuple[cdk.Stack, ...]


def build_app(stage: Stage, out: Path | None = None) -> Built:
    """Put the stacks of a stage together.

    Args:
        out: folder of the cloud assembly; None for where the CDK's command line says, or ``cdk.out``.
    """
    app = cdk.App(outdir=str(out) if out is not None else None, analytics_reporting=False, context=FLAGS)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    naming = naming_of(stage)
    images = images_of(stage.containers, naming)
    if stage.delivery is None:
        return Built(app, _stacks(app, stage, naming, images))
    delivery = DeliveryStack(app, naming, stage.delivery)
    deployed = cdk.Stage(app, stage.name)
    stacks = _stacks(deployed, stage, naming, images)
    delivery.deploy(deployed, stacks[0])
    return Built(app, (delivery, *stacks))


def _stacks(app: cdk.App | cdk.Stage, stage: Stage, naming: Naming, images: Images) -> tuple[cdk.Stack, ...]:
    storage = StorageStack(app, naming, stage.retention)
    network = NetworkStack(app, naming, stage.network, stage.named_buckets)
    registry = RegistryStack(app, naming)
    buckets, group = storage.storage, registry.registry
    labeling = LabelingStack(app, naming, buckets, images, stage.labeling)
    training = TrainingStack(
        app,
        naming,
        buckets,
        network.network,
        images,
        group,
        labeling.labeling,
        stage.training,
        stage.labeling,
        serving_image(stage.endpoint),
    )
    rollout = RolloutStack(app, naming, buckets, images, group, stage.fleet, stage.nucleus)
    after = {
        labeling: [storage],
        training: [storage, network, registry, labeling],
        rollout: [storage, registry],
    }
    if not isinstance(stage.endpoint, NoEndpoint):
        endpoint = EndpointStack(app, naming, buckets, network.network, images, group, stage.endpoint, stage.bundle)
        after[endpoint] = [storage, network, registry]
        if stage.api is not None:
            api = ApiStack(app, naming, buckets, images, endpoint.endpoint, stage.api)
            after[api] = [storage, endpoint]
    served = None if isinstance(stage.endpoint, NoEndpoint) else endpoint_of(naming, stage.endpoint)
    fleet = FleetStack(app, naming, buckets, served, stage)
    after[fleet] = [storage]
    if stage.simulator is not None:
        simulator = SimulatorStack(app, naming, network.network, fleet.fleet, stage.simulator, stage.nucleus)
        after[simulator] = [network, fleet]
    if stage.live_page is not None:
        after[LivePageStack(app, naming, images, stage.live_page)] = []
    before = (storage, network, registry, *after)
    monitoring = MonitoringStack(app, naming, images, watched_in(before), served, stage.fleet, stage.monitoring)
    after[monitoring] = list(before)
    for stack, others in after.items():
        for other in others:
            stack.add_stack_dependency(other)
    return (storage, network, registry, *after)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; as the app of ``cdk.json`` the stage is in the environment, ``STAGE``."""
    parser = parser_of("sam3edge_infra.app", __doc__)
    parser.add_argument("--stage", default=os.environ.get("STAGE", "dev"), help="name of a file in infra/stages")
    parser.add_argument("--out", type=Path, help="folder of the cloud assembly")
    given = parser.parse_args(arguments)
    try:
        stage = read_stage(given.stage)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    build_app(stage, given.out).app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
