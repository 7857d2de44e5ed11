"""Devices: thing groups, how they are provisioned, what they may do, what they run first, and who else gets detections.

Devices are provisioned by claim, a certificate that all are made with. AWS IoT Core asks ``provisioning/hook.py``
whether one is expected, makes the thing ``sam3edge-<stage>-<serial>``, puts it into the group that the table of devices
says, and gives it a certificate with the policies of all devices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_greengrassv2 as greengrass
from aws_cdk import aws_iam as iam
from aws_cdk import aws_iot as iot
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from sam3edge_infra.components import Component, components_of
from sam3edge_infra.constructs.function import FunctionSpec, zip_function
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow, for_account
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.table import on_demand_table
from sam3edge_infra.stacks.consumers import Destinations, deliver_detections, destinations_of
from sam3edge_infra.stacks.device_access import (
    DEVICE_POLICIES,
    NAMED_BY_SERIAL,
    claim_policy,
    device_policies,
    exchange_statements,
    provisioning_statements,
)
from sam3edge_infra.stacks.endpoint import Endpoint
from sam3edge_infra.stacks.first_deployment import first_deployments
from sam3edge_infra.stacks.storage import Storage
from sam3edge_infra.stages.stage import Stage
from sam3edge_pipeline.provisioning import hook
from sam3edge_pipeline.provisioning.hook import GROUP_PARAMETER, SERIAL_PARAMETER
from sam3edge_pipeline.rollout.versions import CONTENT_TAG

CREDENTIAL_SECONDS = 3600
HOOK = "provisioning-hook"
HOOK_SECONDS, HOOK_MB = 5, 1024
"""AWS IoT Core waits five seconds. A function has processor time in proportion to its memory, and needs it to begin;
devices come so seldom that it begins nearly every time, which an image of the other functions' size is too slow for."""

HOOK_VERSION = "2020-04-01"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What other stacks get.

    Attributes:
        canary_group, fleet_group: names of the thing groups.
        policies, claim_policy: names of AWS IoT's policies of devices and of claims.
        role: name of the token exchange role; ``role_alias`` of its alias.
        template: name of the provisioning template, ``template_arn`` its ARN.
        devices_table: name of the table of devices that are expected.
        things: what names of things begin with.
        hook: name of the function that AWS IoT Core asks.
        destinations: of detections.
    """

    canary_group: str
    fleet_group: str
    policies: tuple[str, ...]
    claim_policy: str
    role: str
    role_alias: str
    template: str
    template_arn: str
    devices_table: str
    things: str
    hook: str
    destinations: Destinations


def fleet_of(naming: Naming, stage: Stage) -> Fleet:
    """The fleet of a stage."""
    return Fleet(
        canary_group=stage.fleet.canary_group,
        fleet_group=stage.fleet.fleet_group,
        policies=tuple(naming(name) for name in DEVICE_POLICIES),
        claim_policy=naming("claim"),
        role=naming("devices"),
        role_alias=naming("devices"),
        template=naming("devices"),
        template_arn=naming.arn("iot", f"provisioningtemplate/{naming('devices')}"),
        devices_table=naming("devices"),
        things=naming(""),
        hook=naming(HOOK),
        destinations=destinations_of(naming, stage.consumers),
    )


class FleetStack(StageStack):
    """Devices."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        storage: Storage,
        endpoint: Endpoint | None,
        stage: Stage,
    ) -> None:
        """Args:
        endpoint: the stage's; devices may ask it where ``stage.fleet.endpoint_fallback`` says so.
        """
        super().__init__(scope, "fleet", naming, "sam3edge: devices")
        self._naming, self._storage = naming, storage
        groups = (stage.fleet.canary_group, stage.fleet.fleet_group)
        made_groups = [
            iot.CfnThingGroup(self, name, thing_group_name=group)
            for name, group in zip(("CanaryGroup", "FleetGroup"), groups, strict=True)
        ]
        self._exchange(endpoint if stage.fleet.endpoint_fallback == "allowed" else None)
        policies = [
            iot.CfnPolicy(self, f"Policy-{name}", policy_name=naming(name), policy_document=document)
            for name, document in device_policies(naming, naming("devices")).items()
        ]
        self._provisioning(groups, [*policies, *made_groups])
        components = components_of(stage)
        versions = [self._version(component) for component in components]
        first_deployments(self, naming, storage, stage.fleet, [*versions, *made_groups])
        deliver_detections(self, naming, storage, stage.consumers)
        self.fleet = fleet_of(naming, stage)

    def _exchange(self, endpoint: Endpoint | None) -> None:
        """The token exchange role and its alias."""
        naming = self._naming
        role = iam.Role(
            self,
            "ExchangeRole",
            role_name=naming("devices"),
            assumed_by=iam.ServicePrincipal("credentials.iot.amazonaws.com"),
            description="devices: their components' artifacts, their examples, their logs, the endpoint",
        )
        allow(role, *exchange_statements(naming, self._storage, endpoint))
        iot.CfnRoleAlias(
            self,
            "RoleAlias",
            role_alias=naming("devices"),
            role_arn=role.role_arn,
            credential_duration_seconds=CREDENTIAL_SECONDS,
        )

    def _provisioning(self, groups: tuple[str, str], before: list[cdk.CfnResource]) -> None:
        naming = self._naming
        template, things = naming("devices"), naming("")
        iot.CfnPolicy(
            self,
            "ClaimPolicy",
            policy_name=naming("claim"),
            policy_document=claim_policy(naming, template, things),
        )
        role = iam.Role(
            self,
            "ProvisioningRole",
            assumed_by=for_account("iot.amazonaws.com", naming),
            description="AWS IoT Core provisions devices",
        )
        allow(role, *provisioning_statements(naming, things, groups))
        made = iot.CfnProvisioningTemplate(
            self,
            "Template",
            template_name=template,
            template_type="FLEET_PROVISIONING",
            description="a device that presents a claim, and is expected",
            enabled=True,
            provisioning_role_arn=role.role_arn,
            pre_provisioning_hook=iot.CfnProvisioningTemplate.ProvisioningHookProperty(
                payload_version=HOOK_VERSION, target_arn=naming.function_arn(HOOK)
            ),
            template_body=json.dumps(
                provisioning_template(things, [naming(name) for name in DEVICE_POLICIES], groups[1]), sort_keys=True
            ),
        )
        made.node.add_dependency(role, self._hook(template, things), *before)

    def _hook(self, template: str, things: str) -> lambda_.CfnPermission:
        naming = self._naming
        on_demand_table(self, "devices", naming, "serial", expires="expires")
        spec = FunctionSpec(
            HOOK,
            "hook.allow",
            "Whether a device that presents a claim is expected",
            {hook.TABLE_VARIABLE: naming("devices"), hook.THINGS_VARIABLE: things},
            HOOK_SECONDS,
            HOOK_MB,
        )
        function = zip_function(self, spec, naming, Path(hook.__file__).parent)
        allow(
            function.role,
            Statement(["dynamodb:GetItem", "dynamodb:UpdateItem"], [naming.table_arn("devices")]),
            Statement(["iot:ListThingPrincipals"], [naming.arn("iot", f"thing/{things}*")], NAMED_BY_SERIAL),
        )
        events.Rule(
            self,
            "HookDaily",
            rule_name=naming(f"{HOOK}-daily"),
            description="Calls the hook: without a call for weeks it becomes inactive, and fails the next one",
            schedule=events.Schedule.rate(cdk.Duration.days(1)),
            targets=[targets.LambdaFunction(function, event=events.RuleTargetInput.from_object({}))],
        )
        return lambda_.CfnPermission(
            self,
            "HookPermission",
            action="lambda:InvokeFunction",
            function_name=function.function_name,
            principal="iot.amazonaws.com",
            source_account=naming.account,
            source_arn=naming.arn("iot", f"provisioningtemplate/{template}"),
        )

    def _version(self, component: Component) -> greengrass.CfnComponentVersion:
        """A component version. Greengrass reads its artifacts now: ``sam3edge_infra.components`` has put them there.

        The tag is the roll-out's own, so that it finds this version instead of making the same again.
        """
        made = greengrass.CfnComponentVersion(
            self,
            f"Component-{component.kind}",
            inline_recipe=component.recipe(self._storage.artifacts.name),
            tags={CONTENT_TAG: component.content},
        )
        made.apply_removal_policy(self._naming.removal)
        # a newer version takes the place of this one in the template, not on the devices that run it
        made.cfn_options.update_replace_policy = cdk.CfnDeletionPolicy.RETAIN
        return made


def provisioning_template(things: str, policies: Sequence[str], group: str) -> dict[str, Any]:
    """What is made of a device that was allowed.

    Args:
        things: what the thing's name begins with; its serial number follows.
        policies: names of the policies of devices.
        group: thing group, where the hook says none.
    """
    return {
        "Parameters": {
            SERIAL_PARAMETER: {"Type": "String"},
            GROUP_PARAMETER: {"Type": "String", "Default": group},
            "AWS::IoT::Certificate::Id": {"Type": "String"},
        },
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Fn::Join": ["", [things, {"Ref": SERIAL_PARAMETER}]]},
                    "ThingGroups": [{"Ref": GROUP_PARAMETER}],
                },
                "OverrideSettings": {"ThingGroups": "REPLACE"},
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {
                    "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"},
                    "Status": "ACTIVE",
                    "ThingPrincipalType": "EXCLUSIVE_THING",
                },
            },
            **{
                f"policy{number}": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": name}}
                for number, name in enumerate(policies, start=1)
            },
        },
    }
