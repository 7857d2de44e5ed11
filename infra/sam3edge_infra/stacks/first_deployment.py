"""What the two thing groups run until the first roll-out.

CloudFormation replaces a deployment of Greengrass with a new one when anything in it changes, and a new one would
replace whatever a roll-out has deployed since. So a template's deployment is for the first one only: it says what the
stage's ``fleet.first_deployment`` says, versions included, and changes with nothing else but where examples and
requests go. Later versions, of code as of models, are the roll-out's, which repeats the configuration that it finds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_greengrassv2 as greengrass
from constructs import Construct

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.stacks.endpoint import Endpoint
from sam3edge_infra.stacks.storage import EXAMPLES_PREFIX, Storage
from sam3edge_infra.stages.stage import Stage
from sam3edge_pipeline.greengrass_build.build import NAMES


def first_deployments(
    scope: Construct,
    naming: Naming,
    storage: Storage,
    endpoint: Endpoint | None,
    stage: Stage,
    after: Sequence[cdk.CfnResource],
) -> None:
    """Make a deployment for each thing group, if the stage wants one.

    Args:
        endpoint: that devices may ask; None for none.
        after: component versions and groups that must be there.
    """
    first, nucleus = stage.fleet.first_deployment, stage.nucleus
    if first is None:
        return
    components = {
        nucleus.component: _component(nucleus.version),
        NAMES["segmenter"]: _component(first.code, segmenter_configuration(first.prompts, endpoint)),
        NAMES["uploader"]: _component(first.code, uploader_configuration(naming, storage)),
    }
    if first.model is not None:
        components[NAMES["model"]] = _component(first.model)
    for name, group in (("Canary", stage.fleet.canary_group), ("Fleet", stage.fleet.fleet_group)):
        made = greengrass.CfnDeployment(
            scope,
            f"FirstDeployment{name}",
            target_arn=naming.arn("iot", f"thinggroup/{group}"),
            deployment_name=naming(f"first-{name.lower()}"),
            components=components,
        )
        made.apply_removal_policy(naming.removal)
        made.node.add_dependency(*after)


def segmenter_configuration(prompts: Sequence[str], endpoint: Endpoint | None) -> dict[str, Any]:
    """Of the segmenter."""
    told: dict[str, Any] = {"Prompts": list(prompts), "HardExamples": {"Enabled": True}}
    if endpoint is not None:
        told |= {"Fallback": {"Endpoint": endpoint.name}, "Install": {"Packages": "boto3"}}
    return told


def uploader_configuration(naming: Naming, storage: Storage) -> dict[str, Any]:
    """Of the uploader."""
    return {"Bucket": storage.examples.name, "Prefix": EXAMPLES_PREFIX, "Region": naming.region}


def _component(
    version: str, configuration: dict[str, Any] | None = None
) -> greengrass.CfnDeployment.ComponentDeploymentSpecificationProperty:
    update = None
    if configuration:
        update = greengrass.CfnDeployment.ComponentConfigurationUpdateProperty(
            merge=json.dumps(configuration, sort_keys=True)
        )
    return greengrass.CfnDeployment.ComponentDeploymentSpecificationProperty(
        component_version=version, configuration_update=update
    )
