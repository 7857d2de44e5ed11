"""Deployments to thing groups: what they say, how they are doing, and what they say to go back.

A deployment replaces the one before it whole, so a new one repeats everything that the one before says (other
components, configurations) and differs in the versions of our components only. It names the version of the nucleus: one
that does not lets dependencies update themselves.

A device must not be in the canary group and in the fleet's: two deployments that name different versions of one
component cannot both be carried out.

Going back is tried in two ways. By the store: the new version of the model component stays, and its configuration
names the bundle before (``Bundle``), which the component keeps in its own store. Nothing is downloaded, though the
nucleus has deleted the version before. By version: the versions before, which the nucleus has or downloads again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from sam3edge_pipeline.greengrass_build.build import NAMES

Components: TypeAlias = dict[str, dict[str, Any]]
"""Of a deployment, as CreateDeployment takes them: by name their version, configuration and limits."""

MODEL = NAMES["model"]
INDISPENSABLE = frozenset({MODEL, NAMES["segmenter"]})
BUNDLE_KEY = "Bundle"
"""Key of the model component's configuration: digest of the bundle in its store that is to be activated."""

NUCLEI = ("aws.greengrass.Nucleus", "aws.greengrass.NucleusLite")

_BY_ROLLOUT = re.compile(r"-(to|back-\d)-(canary|fleet)$")

State: TypeAlias = Literal["pending", "succeeded", "failed"]


def deployment_name(execution: str, way: str, target: str) -> str:
    """Name of a deployment of a roll-out.

    Args:
        way: ``to`` or ``back-<n>``.
        target: ``canary`` or ``fleet``.
    """
    return f"{execution}-{way}-{target}"


class DeploymentError(Exception):
    """A target that cannot be deployed to."""


@dataclass(frozen=True, slots=True)
class DeploymentPolicy:
    """How every deployment of a roll-out is carried out.

    Attributes:
        notify_seconds: for components to agree to be updated.
        validate_seconds: for components to check their new configuration.
        timeout_minutes: for one device, after which the deployment has failed there.
        abort_percent: of the devices that failed, from which on no more begin.
        abort_after: devices that must have been tried before that.
        per_minute: devices that begin in a minute, at most.
    """

    notify_seconds: int = 120
    validate_seconds: int = 60
    timeout_minutes: int = 120
    abort_percent: float = 10.0
    abort_after: int = 5
    per_minute: int = 50

    def request(self) -> dict[str, Any]:
        """Members of CreateDeployment."""
        criteria = [
            {
                "failureType": kind,
                "action": "CANCEL",
                "thresholdPercentage": self.abort_percent,
                "minNumberOfExecutedThings": self.abort_after,
            }
            for kind in ("FAILED", "REJECTED", "TIMED_OUT")
        ]
        return {
            "deploymentPolicies": {
                "failureHandlingPolicy": "ROLLBACK",
                "componentUpdatePolicy": {"timeoutInSeconds": self.notify_seconds, "action": "NOTIFY_COMPONENTS"},
                "configurationValidationPolicy": {"timeoutInSeconds": self.validate_seconds},
            },
            "iotJobConfiguration": {
                "jobExecutionsRolloutConfig": {"maximumPerMinute": self.per_minute},
                "abortConfig": {"criteriaList": criteria},
                "timeoutConfig": {"inProgressTimeoutInMinutes": self.timeout_minutes},
            },
        }


@dataclass(frozen=True, slots=True)
class Nucleus:
    """The nucleus of a target, for deployments that name none yet."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment as it is."""

    id: str
    name: str
    target_arn: str
    components: Components

    def versions(self) -> dict[str, str]:
        """Versions of our components that it names."""
        ours = set(NAMES.values())
        return {name: one["componentVersion"] for name, one in self.components.items() if name in ours}

    def by_rollout(self) -> bool:
        """Whether a roll-out made it, not a person."""
        return _BY_ROLLOUT.search(self.name) is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """How a deployment is doing.

    Attributes:
        succeeded, failed, waiting: devices.
        canceled: whether the job was stopped: by its abort criteria or by a person.
        superseded: whether another deployment has taken its place.
    """

    succeeded: int
    failed: int
    waiting: int
    canceled: bool = False
    superseded: bool = False

    @property
    def total(self) -> int:
        """Devices of the target."""
        return self.succeeded + self.failed + self.waiting

    def judged(self, min_share: float, max_failed_share: float) -> tuple[State, str]:
        """The state, and why.

        Args:
            min_share: of the devices that must have succeeded.
            max_failed_share: of the devices that may fail.
        """
        counts = f"{self.succeeded} of {self.total} devices succeeded, {self.failed} failed"
        if self.superseded:
            return "failed", "another deployment took its place"
        if self.canceled or (self.total and self.failed / self.total > max_failed_share):
            return "failed", counts
        if self.total and self.succeeded / self.total >= min_share:
            return "succeeded", counts
        return "pending", counts


def latest(greengrass: Any, target_arn: str) -> Deployed | None:
    """The deployment that a target has; None before the first."""
    listed = greengrass.list_deployments(targetArn=target_arn, historyFilter="LATEST_ONLY")["deployments"]
    return read(greengrass, listed[0]["deploymentId"]) if listed else None


def read(greengrass: Any, deployment_id: str) -> Deployed:
    """A deployment by its id."""
    said = greengrass.get_deployment(deploymentId=deployment_id)
    return Deployed(said["deploymentId"], said.get("deploymentName", ""), said["targetArn"], said.get("components", {}))


def wanted(former: Deployed, published: Mapping[str, str]) -> dict[str, str]:
    """Versions of ours that a target is to have: what it runs already, and what no device can do without."""
    return {name: version for name, version in published.items() if name in former.components or name in INDISPENSABLE}


def forward(former: Deployed, versions: Mapping[str, str], nucleus: Nucleus) -> Components:
    """Everything as before, with these versions; the model component activates the bundle that it carries."""
    components = dict(former.components)
    for name, version in versions.items():
        components[name] = {**components.get(name, {}), "componentVersion": version}
    if MODEL in components:
        model = components[MODEL]
        update = dict(model.get("configurationUpdate", {}))
        update["reset"] = sorted({*update.get("reset", ()), f"/{BUNDLE_KEY}"})
        merge = _merge(update)
        merge.pop(BUNDLE_KEY, None)
        components[MODEL] = {**model, "configurationUpdate": _update(update, merge)}
    if not any(name in components for name in NUCLEI):
        components[nucleus.name] = {"componentVersion": nucleus.version}
    return components


def back_by_version(current: Deployed, versions: Mapping[str, str], nucleus: Nucleus) -> Components:
    """Everything as it is, with the versions that ran well before; ours that were not there go."""
    ours = set(NAMES.values())
    there = {name: one for name, one in current.components.items() if name in versions or name not in ours}
    return forward(replace(current, components=there), versions, nucleus)


def back_by_store(
    current: Deployed, versions: Mapping[str, str], bundle_digest: str, nucleus: Nucleus
) -> Components | None:
    """As ``back_by_version``, with the model component as it is: it activates a bundle that it has kept.

    Returns:
        None where nothing but the versions can help: the bundle before is not known, or no model component is deployed.
    """
    if not bundle_digest or MODEL not in current.components:
        return None
    kept = current.components[MODEL]["componentVersion"]
    components = back_by_version(current, {**versions, MODEL: kept}, nucleus)
    update = components[MODEL]["configurationUpdate"]
    merge = {**_merge(update), BUNDLE_KEY: bundle_digest}
    components[MODEL] = {**components[MODEL], "configurationUpdate": _update(update, merge)}
    return components


def create(
    greengrass: Any, target_arn: str, name: str, components: Components, policy: DeploymentPolicy, token: str
) -> str:
    """Deploy; returns the id. The same token makes the same deployment once.

    Raises:
        DeploymentError: no component, or no nucleus, is named.
    """
    if not any(nucleus in components for nucleus in NUCLEI):
        raise DeploymentError(f"expected a deployment that names {' or '.join(NUCLEI)}, got {sorted(components)}")
    made = greengrass.create_deployment(
        targetArn=target_arn,
        deploymentName=name,
        components=components,
        clientToken=token,
        **policy.request(),
    )
    return str(made["deploymentId"])


def progress(greengrass: Any, iot: Any, deployment_id: str) -> Progress:
    """How a deployment is doing, by the job that carries it out: one question for any number of devices."""
    said = greengrass.get_deployment(deploymentId=deployment_id)
    superseded = said["deploymentStatus"] == "INACTIVE" or not said.get("isLatestForTarget", True)
    stopped = said["deploymentStatus"] in {"CANCELED", "FAILED"}
    if not said.get("iotJobId"):
        return Progress(0, 0, 0, stopped, superseded)
    job = iot.describe_job(jobId=said["iotJobId"])["job"]
    counts = job.get("jobProcessDetails", {})

    def of(*kinds: str) -> int:
        return sum(counts.get(f"numberOf{kind}Things", 0) for kind in kinds)

    return Progress(
        succeeded=of("Succeeded"),
        failed=of("Failed", "Rejected", "TimedOut", "Canceled"),
        waiting=of("Queued", "InProgress"),
        canceled=stopped or job.get("status") == "CANCELED",
        superseded=superseded,
    )


def unhealthy(greengrass: Any, target_arn: str) -> tuple[str, ...]:
    """Devices of a thing group that say that they are not well."""
    pages = greengrass.get_paginator("list_core_devices").paginate(thingGroupArn=target_arn, status="UNHEALTHY")
    return tuple(sorted(one["coreDeviceThingName"] for page in pages for one in page["coreDevices"]))


def devices(greengrass: Any, target_arn: str) -> tuple[str, ...]:
    """Core devices of a thing group."""
    pages = greengrass.get_paginator("list_core_devices").paginate(thingGroupArn=target_arn)
    return tuple(sorted(one["coreDeviceThingName"] for page in pages for one in page["coreDevices"]))


def _merge(update: Mapping[str, Any]) -> dict[str, Any]:
    loaded = json.loads(update.get("merge") or "{}")
    return dict(loaded) if isinstance(loaded, dict) else {}


def _update(update: Mapping[str, Any], merge: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in update.items() if key != "merge"}
    return {**rest, "merge": json.dumps(merge, sort_keys=True)} if merge else rest
