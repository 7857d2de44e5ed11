"""The templates of the example stages, synthesised once a run by a process of its own.

python -m support.infra_templates FOLDER
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

STAGES = ("delivered", "dev", "lite", "none", "prod", "sim")
"""The examples in ``infra/stages``; whoever deploys has others beside them."""

VARIANTS = "variants"
"""Stacks by what no example stage asks for: labels by Ground Truth, a bundle in a folder in S3, a simulator of lite
with a GPU, which containers in a network without a NAT gateway may read."""

LITE_SHA256 = "1" * 64
"""Made up."""

GROUND_TRUTH = {
    "work_team": "arn:aws:sagemaker:eu-central-1:111122223333:workteam/private-crowd/yard",
    "pre_task": "arn:aws:lambda:eu-central-1:203001061592:function:PRE-BoundingBox",
    "consolidation": "arn:aws:lambda:eu-central-1:203001061592:function:ACS-BoundingBox",
    "ui_template": "s3://templates/boxes.html",
}


@dataclass(frozen=True)
class Templates:
    """Cloud assemblies, one folder a stage."""

    root: Path

    @cached_property
    def stages(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Templates by stage and stack."""
        folders = sorted(one for one in self.root.iterdir() if one.is_dir())
        return {
            folder.name: {name: json.loads(path.read_text()) for name, path in _paths(folder)} for folder in folders
        }

    @cached_property
    def paths(self) -> list[Path]:
        """Of all templates."""
        return [path for stage in self.stages for _, path in _paths(self.root / stage)]

    def resources(self, stage: str, stack: str, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of a stack's resources of one type, by logical id."""
        found = self.stages[stage][stack]["Resources"]
        return {name: one.get("Properties", {}) for name, one in found.items() if one["Type"] == kind}

    def only(self, stage: str, stack: str, kind: str) -> dict[str, Any]:
        """Properties of the one resource of a type."""
        (found,) = self.resources(stage, stack, kind).values()
        return found


def _paths(assembly: Path) -> Iterator[tuple[str, Path]]:
    """Names of stacks, without the stage's part, and their templates; those that a pipeline deploys lie deeper."""
    for artifact in json.loads((assembly / "manifest.json").read_text())["artifacts"].values():
        told = artifact.get("properties", {})
        if artifact["type"] == "aws:cloudformation:stack":
            yield told["stackName"].split("-", 2)[2], assembly / told["templateFile"]
        elif artifact["type"] == "cdk:cloud-assembly":
            yield from _paths(assembly / told["directoryName"])


def synthesise(folder: Path) -> None:
    """Synthesise everything into a folder: without network, proxies or credentials to reach anything by."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("AWS_", "CDK_"))}
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    subprocess.run(
        [sys.executable, "-m", "support.infra_templates", str(folder)],
        check=True,
        env={**kept, **nowhere, "PYTHONPATH": os.pathsep.join(sys.path), "DOCKER_HOST": "tcp://127.0.0.1:9"},
        stdout=sys.stderr,
    )


def _main(folder: Path) -> None:
    import aws_cdk as cdk
    from cdk_nag import AwsSolutionsChecks

    from sam3edge_infra.app import FLAGS, build_app
    from sam3edge_infra.constructs.images import images_of
    from sam3edge_infra.constructs.names import naming_of
    from sam3edge_infra.stacks.endpoint import EndpointStack
    from sam3edge_infra.stacks.fleet import fleet_of
    from sam3edge_infra.stacks.labeling import LabelingStack
    from sam3edge_infra.stacks.network import NetworkStack
    from sam3edge_infra.stacks.registry import registry_of
    from sam3edge_infra.stacks.simulator import SimulatorStack
    from sam3edge_infra.stacks.storage import storage_of
    from sam3edge_infra.stages.delivery import Simulator
    from sam3edge_infra.stages.files import read_stage
    from sam3edge_infra.stages.learning import GroundTruth, Labeling
    from sam3edge_infra.stages.stage import LiteNucleus, NewNetwork, S3Bundle

    for name in STAGES:
        build_app(read_stage(name), folder / name).app.synth()
    prod = read_stage("prod")
    naming = naming_of(prod)
    images = images_of(prod.containers, naming)
    app = cdk.App(outdir=str(folder / VARIANTS), context=FLAGS)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    labels = Labeling(backend="ground-truth", phrases=("dent",), ground_truth=GroundTruth(**GROUND_TRUTH))
    LabelingStack(app, naming, storage_of(naming), images, labels)
    closed = NewNetwork(kind="new", egress="none")
    network = NetworkStack(app, naming, closed, ["models"]).network
    bundle = S3Bundle(source="s3", uri="s3://models/yard/")
    instance = read_stage("dev").endpoint.model_copy(update={"instance_type": "ml.g6e.xlarge"})
    EndpointStack(app, naming, storage_of(naming), network, images, registry_of(naming), instance, bundle)
    fast = Simulator(instance_type="g5.xlarge", group="fleet")
    lite = LiteNucleus(kind="lite", sha256=LITE_SHA256)
    SimulatorStack(app, naming, network, fleet_of(naming, prod), fast, lite)
    app.synth()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
