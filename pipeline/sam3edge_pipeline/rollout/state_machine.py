"""The roll-out as a Step Functions state machine (ASL, JSONPath).

    Claim -> CheckApproval -> Publish -> Prepare -> DeployCanary -> bake -> DeployFleet -> RolledOut
                                                         |          |          |
                                                         +----------+----------+-> RollBack -> RolledBack

Everything that takes time is waited for in a loop of a bounded number of rounds: the bound is counted here and not
in a function, so that nothing a function says can make it longer. Every error is caught: before anything is deployed it
ends in ``Failed``, after that in ``RollBack``. Retries are for failures of the Lambda service itself
(``lambda_tasks.py``).

Each task is one function (``handlers.py``). It gets the execution's name and the whole state, and what it returns is
put where the state machine says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sam3edge_pipeline.lambda_tasks import RETRIES, RETRY_SECONDS, retries

State: TypeAlias = dict[str, Any]

FUNCTIONS = (
    "claim",
    "check",
    "publish",
    "published",
    "prepare",
    "deploy",
    "progress",
    "judge",
    "roll_back",
    "rolled_back",
    "record",
)
"""Tasks, each a function of that name in ``handlers.py``."""

TASK_SECONDS = 60
PUBLISH_SECONDS = 900
"""Lambda's own limit."""

MAX_EVENTS = 25_000
"""Of the history of one execution."""

_TASK_EVENTS = 2 + 3 * (RETRIES + 1)
"""Of one task: it is entered and left, and each try is scheduled, started and ended."""

_ROUND_EVENTS = _TASK_EVENTS + 2 * 4
"""Of one round of a loop: its task, two choices, a count and a wait."""

_OTHER_EVENTS = 20 * _TASK_EVENTS
"""Of what is in no loop, and more than there are."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A bounded wait: ``rounds`` rounds of ``seconds`` seconds."""

    seconds: int
    rounds: int

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.rounds < 1:
            raise ValueError(f"expected seconds from 0 and rounds from 1 on, got {self}; correct the times")


@dataclass(frozen=True, slots=True)
class Times:
    """How long each part of a roll-out may take.

    Attributes:
        claim: for the roll-out before to end.
        publish: for Greengrass to make the component versions deployable.
        canary: for the canaries to deploy; longer than a device may take (``DeploymentPolicy.timeout_minutes``).
        bake: for the canaries to be judged.
        fleet: for the fleet to deploy.
        back: for a way back.
    """

    claim: Loop = field(default_factory=lambda: Loop(600, 72))
    publish: Loop = field(default_factory=lambda: Loop(10, 60))
    canary: Loop = field(default_factory=lambda: Loop(60, 180))
    bake: Loop = field(default_factory=lambda: Loop(3600, 24))
    fleet: Loop = field(default_factory=lambda: Loop(600, 144))
    back: Loop = field(default_factory=lambda: Loop(60, 180))

    def __post_init__(self) -> None:
        if sum(loop.rounds for loop in self.loops()) * _ROUND_EVENTS + _OTHER_EVENTS > MAX_EVENTS:
            raise ValueError("expected fewer rounds: an execution has at most 25000 events; wait longer in each")

    def loops(self) -> tuple[Loop, ...]:
        """Every loop that one execution may go through; going back has two ways."""
        return (self.claim, self.publish, self.canary, self.bake, self.fleet, self.back, self.back)

    def longest(self) -> int:
        """Seconds that an execution takes at the very most, all retries included."""
        task = (RETRIES + 1) * TASK_SECONDS + RETRY_SECONDS
        loops = sum(loop.rounds * (loop.seconds + task) for loop in self.loops())
        return int(loops + (RETRIES + 1) * PUBLISH_SECONDS + 20 * task)


def definition(functions: Mapping[str, str], times: Times) -> dict[str, Any]:
    """The state machine.

    Args:
        functions: ARN of each function, by the names in ``FUNCTIONS``.

    Raises:
        ValueError: a function is missing.
    """
    missing = [name for name in FUNCTIONS if name not in functions]
    if missing:
        raise ValueError(f"expected an ARN for each of {', '.join(FUNCTIONS)}, {', '.join(missing)} missing")
    task = _Tasks(functions)
    states: dict[str, State] = {
        "Begin": {
            "Type": "Pass",
            "Result": {name: {"value": 0} for name in ("claim", "publish", "canary", "bake", "fleet", "back", "ways")},
            "ResultPath": "$.count",
            "Next": "Claim",
        },
        **_loop("Claim", task("claim", "$.claim", "Claimed", fails="RecordFailed"), times.claim, "claim"),
        "Claimed": _by_state("$.claim", "CheckApproval", "RecordBusy", "CountClaim"),
        "ClaimOver": _because(
            "the roll-out before it has not ended in time; approve again, or start it by hand", "RecordBusy"
        ),
        "CheckApproval": task("check", "$.package", "StillApproved", fails="RecordFailed"),
        "StillApproved": _by_state("$.package", "Publish", "RecordNotApproved", "RecordNotApproved"),
        "Publish": task("publish", "$.published", "PublishWait", fails="RecordFailed", seconds=PUBLISH_SECONDS),
        **_loop(
            "PublishPoll",
            task("published", "$.publishing", "Deployable", fails="RecordFailed"),
            times.publish,
            "publish",
        ),
        "Deployable": _by_state("$.publishing", "Prepare", "PublishingFailed", "CountPublish"),
        "PublishingFailed": _reason("$.publishing", "RecordFailed"),
        "PublishOver": _because("Greengrass did not make the component versions deployable in time", "RecordFailed"),
        "Prepare": task("prepare", "$.plan", "AnythingNew", fails="RecordFailed"),
        "AnythingNew": _by_state("$.plan", "DeployCanary", "NotDeployable", "RecordUpToDate"),
        "NotDeployable": _reason("$.plan", "RecordFailed"),
        "DeployCanary": task("deploy", "$.canary.deployment", "CanaryWait", fails="RollBack", target="canary"),
        **_loop(
            "CanaryPoll",
            task("progress", "$.canary.progress", "CanarySettled", fails="RollBack", target="canary"),
            times.canary,
            "canary",
        ),
        "CanarySettled": _by_state("$.canary.progress", "BakeWait", "CanaryFailed", "CountCanary"),
        "CanaryFailed": _reason("$.canary.progress", "RollBack"),
        "CanaryOver": _because("the canaries did not finish deploying in time", "RollBack"),
        **_loop("BakePoll", task("judge", "$.bake", "Judged", fails="RollBack"), times.bake, "bake"),
        "Judged": _by_state("$.bake", "DeployFleet", "CanaryWorse", "CountBake"),
        "CanaryWorse": _reason("$.bake", "RollBack"),
        "BakeOver": _reason("$.bake", "RollBack"),
        "DeployFleet": task("deploy", "$.fleet.deployment", "FleetWait", fails="RollBack", target="fleet"),
        **_loop(
            "FleetPoll",
            task("progress", "$.fleet.progress", "FleetSettled", fails="RollBack", target="fleet"),
            times.fleet,
            "fleet",
        ),
        "FleetSettled": _by_state("$.fleet.progress", "RecordRolledOut", "FleetFailed", "CountFleet"),
        "FleetFailed": _reason("$.fleet.progress", "RollBack"),
        "FleetOver": _because("too few devices of the fleet finished deploying in time", "RollBack"),
        "RollBack": task(
            "roll_back", "$.back.deployments", "BackWait", fails="RecordRollBackFailed", error="$.back.error"
        ),
        **_loop(
            "BackPoll",
            task("rolled_back", "$.back.progress", "BackSettled", fails="RecordRollBackFailed", error="$.back.error"),
            times.back,
            "back",
        ),
        "BackSettled": _by_state("$.back.progress", "RecordRolledBack", "BackOver", "CountBack"),
        "BackOver": {
            "Type": "Pass",
            "Parameters": {"value.$": "States.MathAdd($.count.ways.value, 1)"},
            "ResultPath": "$.count.ways",
            "Next": "AnotherWay",
        },
        "AnotherWay": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.count.ways.value", "NumericLessThan": 2, "Next": "RollBackAgain"}],
            "Default": "RecordRollBackFailed",
        },
        "RollBackAgain": {"Type": "Pass", "Result": {"value": 0}, "ResultPath": "$.count.back", "Next": "RollBack"},
    }
    for end, succeeds in _ENDS.items():
        states[f"Record{end}"] = task("record", "$.outcome", end, fails="NotRecorded", error="$.recording", outcome=end)
        states[end] = (
            {"Type": "Succeed"} if succeeds else {"Type": "Fail", "Error": end, "CausePath": "$.outcome.value.reason"}
        )
    states["NotRecorded"] = {"Type": "Fail", "Error": "NotRecorded", "Cause": "the outcome could not be recorded"}
    return {
        "Comment": "Rolls an approved model out: canary, bake time, fleet, or back",
        "StartAt": "Begin",
        "TimeoutSeconds": times.longest(),
        "States": {name: states[name] for name in sorted(states)},
    }


_ENDS = {
    "RolledOut": True,
    "UpToDate": True,
    "NotApproved": True,
    "Busy": False,
    "Failed": False,
    "RolledBack": False,
    "RollBackFailed": False,
}
"""How an execution may end, and whether that is a success."""


def to_text(machine: Mapping[str, Any]) -> str:
    """The same definition always has the same text."""
    return json.dumps(machine, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class _Tasks:
    """Makes task states."""

    functions: Mapping[str, str]

    def __call__(
        self,
        function: str,
        result: str,
        then: str,
        *,
        fails: str,
        error: str = "$.failure",
        seconds: int = TASK_SECONDS,
        **payload: str,
    ) -> State:
        """Call a function and continue with ``then``.

        Args:
            result: where what it returns is put.
            fails: where to continue after an error, which is put at ``error``.
            payload: what it gets beside the state.
        """
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {
                "FunctionName": self.functions[function],
                "Payload": {"execution.$": "$$.Execution.Name", "state.$": "$", **payload},
            },
            "ResultSelector": {"value.$": "$.Payload"},
            "ResultPath": result,
            "TimeoutSeconds": seconds,
            "Retry": retries(),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": error, "Next": fails}],
            "Next": then,
        }


def _loop(poll: str, task: State, loop: Loop, count: str) -> dict[str, State]:
    """A task that is repeated: ``Count<X>`` counts a round, and ``<X>Over`` is where the bound leads."""
    name = count.capitalize()
    return {
        poll: task,
        f"Count{name}": {
            "Type": "Pass",
            "Parameters": {"value.$": f"States.MathAdd($.count.{count}.value, 1)"},
            "ResultPath": f"$.count.{count}",
            "Next": f"{name}TimeLeft",
        },
        f"{name}TimeLeft": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": f"$.count.{count}.value",
                    "NumericLessThan": loop.rounds,
                    "Next": f"{name}Wait",
                }
            ],
            "Default": f"{name}Over",
        },
        f"{name}Wait": {"Type": "Wait", "Seconds": loop.seconds, "Next": poll},
    }


def _by_state(path: str, succeeded: str, failed: str, otherwise: str) -> State:
    """Where to continue by the ``state`` that a function returned."""
    return {
        "Type": "Choice",
        "Choices": [
            {"Variable": f"{path}.value.state", "StringEquals": "succeeded", "Next": succeeded},
            {"Variable": f"{path}.value.state", "StringEquals": "failed", "Next": failed},
        ],
        "Default": otherwise,
    }


def _reason(path: str, then: str) -> State:
    """Keep why a function said that it failed."""
    return {"Type": "Pass", "Parameters": {"reason.$": f"{path}.value.reason"}, "ResultPath": "$.failure", "Next": then}


def _because(reason: str, then: str) -> State:
    """Keep why a bound was reached."""
    return {"Type": "Pass", "Result": {"reason": reason}, "ResultPath": "$.failure", "Next": then}
