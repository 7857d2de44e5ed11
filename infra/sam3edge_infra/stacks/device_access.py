"""What devices may do: by their certificate (AWS IoT's policies), and by the role that they get credentials of.

Both name the device by what AWS knows of its certificate, so the same policies serve all and none reaches another's
topics or objects:

- ``${iot:Connection.Thing.ThingName}`` in topics. The nucleus opens several connections (``<thing>``, ``<thing>#2``,
  ...); for those whose id is not the thing's name AWS resolves the variable only where a certificate is attached to its
  thing exclusively, as the provisioning template does it
  (https://docs.aws.amazon.com/iot/latest/developerguide/exclusive-thing.html).
- ``${credentials-iot:ThingName}`` in keys of S3
  (https://docs.aws.amazon.com/iot/latest/developerguide/authorizing-direct-aws.html).

Greengrass' own operations come by HTTP, where the first is not known, so they are limited by components and not by
devices (https://docs.aws.amazon.com/greengrass/v2/developerguide/device-auth.html#greengrass-core-minimal-iot-policy).
``tests/unit/infra/test_device_access.py`` compares all this with what the components do.
"""

from __future__ import annotations

import json
from typing import Any

from sam3edge.core.messages.topics import COMMANDS, NAMES, PING
from sam3edge_infra.constructs.names import PARTITION, Naming
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

OF_COMPONENTS = ("greengrass:GetComponentVersionArtifact", "greengrass:ResolveComponentCandidates")
OF_NO_RESOURCE = ("greengrass:GetDeploymentConfiguration", "greengrass:ListThingGroupsForCoreDevice")
"""What a nucleus asks of Greengrass."""

UUID = "-".join("?" * length for length in (8, 4, 4, 4, 12))
"""As a pattern of AWS IoT's policies, where ``?`` is any one character."""

MAX_POLICY = 2048
"""Characters of a policy of AWS IoT Core without white space; ten policies may be attached to a certificate."""

DEVICE_POLICIES = ("device", "device-nucleus")
"""Names of the policies of a device's certificate, within the stage. Together they are too long for one."""

NAMED_BY_SERIAL = "things are named by the serial numbers of devices"


def device_policies(naming: Naming, role_alias: str) -> dict[str, dict[str, Any]]:
    """The policies of a device's certificate, by the names of ``DEVICE_POLICIES``.

    Raises:
        ValueError: one is longer than AWS IoT Core takes.
    """
    policies = dict(zip(DEVICE_POLICIES, (_messages(naming), _nucleus(naming, role_alias)), strict=True))
    for name, document in policies.items():
        if (length := len(json.dumps(document, separators=(",", ":")))) > MAX_POLICY:
            raise ValueError(f"expected a policy {name} of {MAX_POLICY} characters at most, got {length}; split it")
    return policies


def _messages(naming: Naming) -> dict[str, Any]:
    """To connect, and what our components say and hear."""
    received = [f"sam3edge/{THING}/{name}" for name in RECEIVED]
    return _document(
        _allowed(["iot:Connect"], _iot(naming, "client", THING, f"{THING}#*")),
        _allowed(["iot:Publish"], _iot(naming, "topic", *(f"sam3edge/{THING}/{name}" for name in PUBLISHED))),
        _allowed(["iot:Receive"], _iot(naming, "topic", *received)),
        _allowed(["iot:Subscribe"], _iot(naming, "topicfilter", *received)),
    )


def _nucleus(naming: Naming, role_alias: str) -> dict[str, Any]:
    """What the nucleus says, hears and asks for."""
    own = f"$aws/things/{THING}"
    by_cloud = [f"{own}/{name}" for name in _BY_CLOUD]
    return _document(
        _allowed(["iot:Publish"], _iot(naming, "topic", *(f"{own}/{name}" for name in _HEALTH), *by_cloud)),
        _allowed(["iot:Receive"], _iot(naming, "topic", *by_cloud)),
        _allowed(["iot:Subscribe"], _iot(naming, "topicfilter", *by_cloud)),
        _allowed(["iot:AssumeRoleWithCertificate"], _iot(naming, "rolealias", role_alias)),
        _allowed(list(OF_COMPONENTS), component_versions(naming)),
        _allowed(list(OF_NO_RESOURCE), ["*"]),
    )


def _iot(naming: Naming, kind: str, *names: str) -> list[str]:
    return [naming.arn("iot", f"{kind}/{name}") for name in names]


def component_versions(naming: Naming) -> list[str]:
    """Components that devices may resolve: ours, and those that AWS publishes. One of yours has to be named here."""
    ours = [naming.arn("greengrass", f"components:{name}:versions:*") for name in sorted(COMPONENTS.values())]
    return [*ours, f"arn:{PARTITION}:greengrass:{naming.region}:aws:components:*:versions:*"]


def claim_policy(naming: Naming, template: str, things: str) -> dict[str, Any]:
    """The policy of a claim: to ask for a certificate and present it to one template, and nothing else.

    A claim connects as a random UUID, which is what both nuclei take for it: whoever connects under the id of another
    client takes its connection away. What has the name of a thing is denied nevertheless, since it may have that form.

    Args:
        things: what names of things begin with.
    """
    topics = [f"$aws/certificates/{kind}/*" for kind in ("create", "create-from-csr")]
    topics.append(f"$aws/provisioning-templates/{template}/provision/*")
    return _document(
        _allowed(["iot:Connect"], _iot(naming, "client", UUID)),
        {"Effect": "Deny", "Action": ["iot:Connect"], "Resource": _iot(naming, "client", f"{things}*")},
        _allowed(["iot:Publish", "iot:Receive"], _iot(naming, "topic", *topics)),
        _allowed(["iot:Subscribe"], _iot(naming, "topicfilter", *topics)),
    )


def exchange_statements(naming: Naming, storage: Storage, endpoint: Endpoint | None) -> tuple[Statement, ...]:
    """What the token exchange role may do.

    Args:
        endpoint: that devices may ask when they cannot answer; None for none. Never an asynchronous one, see
            ``stages.stage.Fleet``.
    """
    artifacts = [f"{COMPONENTS[kind]}/" for kind in sorted(COMPONENTS)]
    groups = [
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
            ["logs:CreateLogGroup", "logs:DescribeLogStreams"],
            groups,
            "Greengrass names groups by component",
        ),
        Statement(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{group}:log-stream:*/thing/{CREDENTIALS_THING}" for group in groups],
            "the streams of this device, whose names begin with the day",
        ),
    ]
    if endpoint is not None:
        statements.append(Statement(["sagemaker:InvokeEndpoint"], [endpoint.arn]))
    return tuple(statements)


def provisioning_statements(naming: Naming, things: str, groups: tuple[str, ...]) -> tuple[Statement, ...]:
    """What AWS IoT Core does as the provisioning role: AWSIoTThingsRegistration, limited to our things and groups.

    Args:
        things: what names of things begin with.
        groups: thing groups.
    """
    thing = naming.arn("iot", f"thing/{things}*")
    certificate = naming.arn("iot", "cert/*")
    into = [naming.arn("iot", f"thinggroup/{group}") for group in groups]
    fresh = "certificates are named by AWS IoT Core, which has just made the one of this device"
    return (
        Statement(["iot:CreateThing", "iot:DescribeThing", "iot:UpdateThing"], [thing], NAMED_BY_SERIAL),
        Statement(["iot:ListThingGroupsForThing", "iot:ListThingPrincipals"], [thing], NAMED_BY_SERIAL),
        Statement(
            ["iot:AddThingToThingGroup", "iot:RemoveThingFromThingGroup", "iot:UpdateThingGroupsForThing"],
            [thing, *into],
            NAMED_BY_SERIAL,
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
