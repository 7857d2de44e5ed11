"""The tasks of the state machine, one method each. Every one may be called again and does its work once.

A task gets the execution's name and the state, and returns ``state`` (``succeeded``, ``failed``, or ``pending`` and the
like) with a ``reason`` for people, beside what later tasks need. What a task cannot do it raises; the state machine
catches it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sam3edge_pipeline.registry.packages import APPROVED, Package, describe
from sam3edge_pipeline.rollout.canary import CanaryWatch
from sam3edge_pipeline.rollout.deployments import (
    Components,
    Deployed,
    back_by_store,
    back_by_version,
    create,
    deployment_name,
    devices,
    forward,
    latest,
    progress,
    read,
    unhealthy,
    wanted,
)
from sam3edge_pipeline.rollout.publish import Publisher
from sam3edge_pipeline.rollout.records import Good, Records
from sam3edge_pipeline.rollout.settings import RolloutSettings
from sam3edge_pipeline.rollout.versions import DEPLOYABLE

logger = logging.getLogger(__name__)

Result: TypeAlias = dict[str, Any]

CANARY, FLEET = "canary", "fleet"
MAX_CANARIES = 50
"""Devices whose messages are compared; more make a fleet."""

MAX_REASON = 2000
"""Characters of a reason in the state, which may have 256 KB in all."""


class RolloutError(Exception):
    """A roll-out that cannot continue."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The tasks.

    Attributes:
        sagemaker, greengrass, iot: boto3's clients.
        clock: seconds since 1970.
    """

    settings: RolloutSettings
    sagemaker: Any
    greengrass: Any
    iot: Any
    publisher: Publisher
    records: Records
    watch: CanaryWatch
    clock: Callable[[], float]

    def run(self, task: str, event: Mapping[str, Any]) -> Result:
        """Run one task.

        Args:
            task: a name of ``state_machine.FUNCTIONS``.
            event: what the state machine calls its function with.
        """
        told = {name: value for name, value in event.items() if name not in ("execution", "state")}
        result: Result = getattr(self, task)(event["execution"], event["state"], **told)
        return result

    def claim(self, execution: str, state: Mapping[str, Any]) -> Result:
        """One roll-out at a time: two would be judged by each other's detections."""
        target = self.settings.canary_group_arn
        held = self.records.claim(target, execution, self.clock(), self.settings.claim_seconds)
        return _result("succeeded" if held else "pending", "" if held else "another roll-out is in progress")

    def check(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Whether the package is still approved, since events arrive late and repeatedly."""
        package = self._package(state)
        if package.status != APPROVED:
            return _result("failed", f"the package is {package.status}")
        if not package.digest or not package.bundle_uri:
            raise RolloutError(f"expected a package with a bundle, {package.arn} has none; register it by the registry")
        return {**_result("succeeded"), "digest": package.digest, "name": package.model_name}

    def publish(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Component versions of the bundle and of this code; only what is new is made."""
        published = self.publisher.publish(self._package(state))
        return {
            "versions": {one.name: one.version for one in published},
            "arns": [one.arn for one in published],
            "created": [one.name for one in published if one.created],
        }

    def published(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Whether Greengrass has made the versions deployable."""
        arns = state["published"]["value"]["arns"]
        states = {arn: self.greengrass.describe_component(arn=arn)["status"] for arn in arns}
        for arn, status in states.items():
            if status["componentState"] in {"FAILED", "DEPRECATED"}:
                return _result("failed", f"{arn} is {status['componentState']}: {status.get('message', '')}")
        ready = all(status["componentState"] == DEPLOYABLE for status in states.values())
        return _result("succeeded" if ready else "pending", "waiting for the component versions")

    def prepare(self, execution: str, state: Mapping[str, Any]) -> Result:
        """What is deployed now, so that it can be compared with and gone back to."""
        versions = state["published"]["value"]["versions"]
        former = {target: latest(self.greengrass, self._arn(target)) for target in (CANARY, FLEET)}
        if any(one is None for one in former.values()):
            missing = ", ".join(self._arn(target) for target, one in former.items() if one is None)
            return _result(
                "failed", f"expected a deployment to compare with, {missing} has none; deploy the first by hand"
            )
        deployed = {target: one for target, one in former.items() if one is not None}
        if all(one.versions() == wanted(one, versions) for one in deployed.values()):
            return _result("unchanged", "canaries and fleet have these versions")
        things = devices(self.greengrass, self._arn(CANARY))
        if not 0 < len(things) <= MAX_CANARIES:
            return _result(
                "failed", f"expected 1 to {MAX_CANARIES} canaries, got {len(things)}; change the thing group"
            )
        started = self.clock()
        digest = self.watch.former_digest(things, state["package"]["value"]["digest"], started)
        for target, one in deployed.items():
            self._keep_good(target, one, digest, started)
        return {
            **_result("succeeded"),
            "former": {target: one.id for target, one in deployed.items()},
            "devices": list(things),
            "unhealthy": list(unhealthy(self.greengrass, self._arn(CANARY))),
            "started": started,
        }

    def deploy(self, execution: str, state: Mapping[str, Any], target: str) -> Result:
        """Deploy to the canaries, or to the fleet."""
        former = read(self.greengrass, state["plan"]["value"]["former"][target])
        versions = wanted(former, state["published"]["value"]["versions"])
        components = forward(former, versions, self.settings.default_nucleus())
        return {"id": self._create(execution, target, "to", components)}

    def progress(self, execution: str, state: Mapping[str, Any], target: str) -> Result:
        """How a deployment is doing."""
        return self._progress(state[target]["deployment"]["value"]["id"], target)

    def judge(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Whether the canaries are well, and find as much as before."""
        package, plan = self._package(state), state["plan"]["value"]
        if package.status != APPROVED:
            return _result("failed", f"the approval was withdrawn: the package is {package.status}")
        ill = sorted(set(unhealthy(self.greengrass, self._arn(CANARY))) - set(plan["unhealthy"]))
        if ill:
            return _result("failed", f"{', '.join(ill)} became unhealthy")
        carried = self._progress(state[CANARY]["deployment"]["value"]["id"], CANARY)
        if carried["state"] == "failed":  # a device that joined the group since then may still be waiting
            return _result("failed", f"the canary deployment no longer stands: {carried['reason']}")
        report = self.watch.report(plan["devices"], package.digest, plan["started"], self.clock())
        if report.refused:
            return _result("failed", f"{', '.join(report.refused)} refused the bundle")
        verdict, rounds = report.verdict, state["count"]["bake"]["value"] + 1
        why = "; ".join(verdict.reasons)
        figures = {
            "outcome": verdict.outcome,
            "devices": list(verdict.devices),
            "smallest_effect": verdict.smallest_effect,
            "frames_before": verdict.frames_before,
            "frames_after": verdict.frames_after,
        }
        if verdict.outcome == "worse":
            return {**_result("failed", f"the canary is worse on {', '.join(verdict.devices)}: {why}"), **figures}
        if verdict.outcome == "insufficient":
            return {**_result("pending", f"not enough samples to judge the canary: {why}"), **figures}
        enough = rounds >= self.settings.min_bakes
        return {**_result("succeeded" if enough else "pending", f"as good as before, in round {rounds}"), **figures}

    def roll_back(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Bring every target back that this roll-out has changed; what somebody else deployed since then stays."""
        way = state["count"]["ways"]["value"]
        deployed: dict[str, str] = {}
        for target in (CANARY, FLEET):
            former = read(self.greengrass, state["plan"]["value"]["former"][target])
            current = latest(self.greengrass, self._arn(target))
            if current is None or current.id == former.id or not current.name.startswith(execution):
                continue
            components = self._back(target, current, by_store=way == 0)
            deployed[target] = self._create(execution, target, f"back-{way}", components)
        return {"ids": deployed}

    def rolled_back(self, execution: str, state: Mapping[str, Any]) -> Result:
        """Whether every target is back."""
        found = [self._progress(one, target) for target, one in state["back"]["deployments"]["value"]["ids"].items()]
        for outcome in ("failed", "pending"):
            reasons = [one["reason"] for one in found if one["state"] == outcome]
            if reasons:
                return _result(outcome, "; ".join(reasons))
        return _result("succeeded", "; ".join(one["reason"] for one in found))

    def record(self, execution: str, state: Mapping[str, Any], outcome: str) -> Result:
        """Remember how it ended, and let the next roll-out begin."""
        now = self.clock()
        package_arn = state["package_arn"]
        if outcome == "RolledOut":
            for target in (CANARY, FLEET):
                deployed = read(self.greengrass, state[target]["deployment"]["value"]["id"])
                good = Good(deployed.versions(), state["package"]["value"]["digest"], package_arn, now)
                self.records.put_good(self._arn(target), good)
        reason = _reason(state)
        report = {
            "outcome": outcome,
            "package_arn": package_arn,
            "reason": reason,
            "versions": state.get("published", {}).get("value", {}).get("versions", {}),
            "bake": state.get("bake", {}).get("value", {}),
            "rounds": {name: count["value"] for name, count in state["count"].items()},
        }
        self.records.put_outcome(execution, report, now)
        self.records.release(self.settings.canary_group_arn, execution)
        logger.info("roll-out %s: %s %s", execution, outcome, reason)
        return {"reason": reason or outcome}

    def _package(self, state: Mapping[str, Any]) -> Package:
        return describe(self.sagemaker, state["package_arn"])

    def _arn(self, target: str) -> str:
        return self.settings.canary_group_arn if target == CANARY else self.settings.fleet_group_arn

    def _progress(self, deployment_id: str, target: str) -> Result:
        shares = (1.0, 0.0) if target == CANARY else (self.settings.fleet_share, self.settings.fleet_failed_share)
        outcome, reason = progress(self.greengrass, self.iot, deployment_id).judged(*shares)
        return _result(outcome, f"{target}: {reason}")

    def _create(self, execution: str, target: str, way: str, components: Components) -> str:
        token = hashlib.sha256(f"{execution}/{target}/{way}".encode()).hexdigest()
        name = deployment_name(execution, way, target)
        return create(self.greengrass, self._arn(target), name, components, self.settings.policy(), token)

    def _keep_good(self, target: str, former: Deployed, digest: str, now: float) -> None:
        """What a person deployed is good; what a roll-out deployed is so only when it was found to be."""
        good = self.records.good(self._arn(target))
        if good is None or (former.versions() != good.versions and not former.by_rollout()):
            self.records.put_good(self._arn(target), Good(former.versions(), digest, "", now))

    def _back(self, target: str, current: Deployed, *, by_store: bool) -> Components:
        good = self.records.good(self._arn(target))
        if good is None:
            raise RolloutError(f"expected to know what last ran well on {self._arn(target)}; deploy it by hand")
        nucleus = self.settings.default_nucleus()
        if by_store:
            kept = back_by_store(current, good.versions, good.bundle_digest, nucleus)
            if kept is not None:
                return kept
        return back_by_version(current, good.versions, nucleus)


def _result(state: str, reason: str = "") -> Result:
    return {"state": state, "reason": reason[:MAX_REASON]}


def _reason(state: Mapping[str, Any]) -> str:
    """Why it ended as it did: what a task said, or the error that one ended with."""
    found = [state.get("back", {}).get("error"), state.get("failure"), state.get("package", {}).get("value")]
    reasons = [one.get("reason") or _error_text(one) for one in found if one]
    return "; ".join(filter(None, reasons))[:MAX_REASON]


def _error_text(error: Mapping[str, Any]) -> str:
    """What Step Functions caught: a function's error has its message in JSON, beside a stack trace."""
    name, cause = str(error.get("Error", "")), str(error.get("Cause", ""))
    with contextlib.suppress(ValueError, KeyError, TypeError):
        cause = str(json.loads(cause)["errorMessage"])
    return ": ".join(filter(None, (name, cause)))
