"""What devices may do: by their certificate (AWS IoT's policies), and by the role that they get credentials of.

Both name the device by what AWS knows of its certificate, so one policy serves all and none reaches another's topics or
objects:

- ``${iot:Connection.Thing.ThingName}`` in topics. The nucleus opens several connections (``<thing>``, ``<thing>#2``,
  ...); for those whose id is not the thing's name AWS resolves the variable only where a certificate is attached to its
  thing exclusively, as the provisioning template does it
  (https://docs.aws.amazon.com/iot/latest/developerguide/exclusive-thing.html).
- ``${credentials-iot:ThingName}`` in keys of S3
  (https://docs.aws.amazon.com/iot/latest/developerguide/authorizing-direct-aws.html).

Greengrass' own operations come by HTTP, where the first is not known; AWS' minimal policy leaves their resources open
(https://docs.aws.amazon.com/greengrass/v2/developerguide/device-auth.html#greengrass-core-minimal-iot-policy).
``tests/unit/infra/test_device_access.py`` compares all this with what the components do.
"""

from __future__ import annotations

from typing import Any

from sam3edge.core.messages.topics import COMMANDS, NAMES, PING
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement
from sam3edge_infra.stacks.endpoint import Endpoint
from sam3edge_infra.stacks.storage import EXAMPLES_PREFIX, Storage
from sam3edge_pipeline.greengrass_build.build import NAMES as COMPONENTS

THING = "${iot:Connection.Thing.ThingName}"
CREDENTIALS_THING = "${credentials-iot:ThingName}"

PUBLISHED = tuple(name for name in NAMES if name != COMMANDS)
RECEIVED = (COMMANDS, PING)
"""Topics below ``sam3edge/<thing>/``."""

_HEALTH = ("greengrass/health/json", "greengrassv2/health/json")
_BY_CLOUD = ("jobs/*", "shadow/*")
"""Topics below ``$aws/things/<thing>/``: telemetry, and how deployments come."""

GREENGRASS = (
    "greengrass:GetComponentVersionArtifact",
    "greengrass:GetDeploymentConfiguration",
    "greengrass:ListThingGroupsForCoreDevice",
    "greengrass:ResolveComponentCandidates",
)


def device_policy(naming: Naming, role_alias: str) -> dict[str, Any]:
    """The policy of a device's certificate."""

    def iot(kind: str, *names: str) -> list[str]:
        return [naming.arn("iot", f"{kind}/{name}") for name in names]

    own = f"$aws/things/{THING}"
    by_cloud = [f"{own}/{name}" for name in _BY_CLOUD]
    received = [f"sam3edge/{THING}/{name}" for name in RECEIVED]
    published = [f"sam3edge/{THING}/{name}" for name in PUBLISHED]
    health = [f"{own}/{name}" for name in _HEALTH]
    return _document(
        _allowed(["iot:Connect"], iot("client", THING, f"{THING}#*")),
        _allowed(["iot:Publish"], iot("topic", *published, *health, *by_cloud)),
        _allowed(["iot:Receive"], iot("topic", *received, *by_cloud)),
        _allowed(["iot:Subscribe"], iot("topicfilter", *received, *by_cloud)),
        _allowed(["iot:AssumeRoleWithCertificate"], iot("rolealias", role_alias)),
        _allowed(list(GREENGRASS), ["*"]),
    )


def claim_policy(naming: Naming, template: str, things: str) -> dict[str, Any]:
    """The policy of a claim: to ask for a certificate and present it to one template, and nothing else.

    A claim connects under any id, since the nuclei choose it at random, but under none of a device.

    Args:
        things: what names of things begin with.
    """
    topics = [f"$aws/certificates/{kind}/*" for kind in ("create", "create-from-csr")]
    topics.append(f"$aws/provisioning-templates/{template}/provision/*")
    return _document(
        _allowed(["iot:Connect"], [naming.arn("iot", "client/*")]),
        {"Effect": "Deny", "Action": ["iot:Connect"], "Resource": [naming.arn("iot", f"client/{things}*")]},
        _allowed(["iot:Publish", "iot:Receive"], [naming.arn("iot", f"topic/{topic}") for topic in topics]),
        _allowed(["iot:Subscribe"], [naming.arn("iot", f"topicfilter/{topic}") for topic in topics]),
    )


def exchange_statements(naming: Naming, storage: Storage, endpoint: Endpoint | None) -> tuple[Statement, ...]:
    """What the token exchange role may do.

    Args:
        endpoint: that devices may ask when they cannot answer; None for none.
    """
    artifacts = [f"{COMPONENTS[kind]}/" for kind in sorted(COMPONENTS)]
    logs = [
        naming.arn("logs", f"log-group:/aws/greengrass/{kind}/{naming.region}/*")
        for kind in ("GreengrassSystemComponent", "UserComponent")
    ]
    statements = [
        Statement(
            ["s3:GetObject"], storage.artifacts.below(*artifacts), "all versions of our components, which come and go"
        ),
        Statement(
            ["s3:AbortMultipartUpload", "s3:PutObject"],
            storage.examples.below(f"{EXAMPLES_PREFIX}/{CREDENTIALS_THING}/"),
            "the examples of this device, whose keys are their days and frames",
        ),
        Statement(
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            logs,
            "Greengrass' log manager names groups by component and streams by day and thing",
        ),
    ]
    if endpoint is not None and endpoint.kind == "async":
        inference = storage.inference
        statements += [
            Statement(["sagemaker:InvokeEndpointAsync"], [endpoint.arn]),
            Statement(
                ["s3:DeleteObject", "s3:PutObject"], inference.below("fallback/"), "keys are the ids of requests"
            ),
            Statement(["s3:GetObject"], inference.below("async/"), "SageMaker names responses"),
            Statement(["s3:ListBucket"], [inference.arn]),
        ]
    elif endpoint is not None:
        statements.append(Statement(["sagemaker:InvokeEndpoint"], [endpoint.arn]))
    return tuple(statements)


def provisioning_statements(naming: Naming, things: str, groups: tuple[str, ...]) -> tuple[Statement, ...]:
    """What AWS IoT Core does as the provisioning role: AWSIoTThingsRegistration, bounded to our things and groups.

    Args:
        things: what names of things begin with.
        groups: thing groups.
    """
    thing = naming.arn("iot", f"thing/{things}*")
    certificate = naming.arn("iot", "cert/*")
    into = [naming.arn("iot", f"thinggroup/{group}") for group in groups]
    named = "things are named by the serial numbers of devices"
    fresh = "certificates are named by AWS IoT Core, which has just made the one of this device"
    return (
        Statement(["iot:CreateThing", "iot:DescribeThing", "iot:UpdateThing"], [thing], named),
        Statement(["iot:ListThingGroupsForThing", "iot:ListThingPrincipals"], [thing], named),
        Statement(
            ["iot:AddThingToThingGroup", "iot:RemoveThingFromThingGroup", "iot:UpdateThingGroupsForThing"],
            [thing, *into],
            named,
        ),
        Statement(["iot:DescribeThingGroup"], into),
        Statement(
            [
                "iot:AttachPolicy",
                "iot:AttachThingPrincipal",
                "iot:DescribeCertificate",
                "iot:ListAttachedPolicies",
                "iot:UpdateCertificate",
            ],
            [certificate],
            fresh,
        ),
    )


def _document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allowed(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}
