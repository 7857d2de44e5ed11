"""What state machines do when Lambda itself refuses a call."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from sam3edge_pipeline.labeling.workflow import StepFunctions, WorkflowSettings
from sam3edge_pipeline.labeling.workflow import definition as labeling
from sam3edge_pipeline.lambda_tasks import RETRY_SECONDS, TRANSIENT
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, MAX_EVENTS, Loop, Times
from sam3edge_pipeline.rollout.state_machine import definition as rollout

LONGEST_SEEN = 106
"""Seconds until an inactive function was there, see ``lambda_tasks``."""

OF_STEP_FUNCTIONS = {"AWSLambdaException", "SdkClientException"}
"""Names for what went wrong on the way to Lambda, which Lambda's own interface does not know."""

MACHINES = [
    labeling(StepFunctions("check", "start", "status", "verify", "store"), WorkflowSettings()),
    rollout({name: f"arn:aws:lambda:eu-west-1:123456789012:function:{name}" for name in FUNCTIONS}, Times()),
]


def tasks(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: state for name, state in machine["States"].items() if state["Type"] == "Task"}


def waited(state: dict[str, Any], error: str) -> float:
    """Seconds that a task waits for an error to pass, over all retries; 0 where it does not try again."""
    for retrier in state.get("Retry", ()):
        if error in retrier["ErrorEquals"]:
            first, rate = retrier["IntervalSeconds"], retrier["BackoffRate"]
            return float(sum(first * rate**n for n in range(retrier["MaxAttempts"])))
    return 0.0


@pytest.mark.parametrize("machine", MACHINES, ids=["labeling", "roll-out"])
def test_a_function_that_was_idle_for_weeks_is_waited_for(machine: dict[str, Any]) -> None:
    assert tasks(machine)
    for name, state in tasks(machine).items():
        assert waited(state, "Lambda.CodeArtifactUserPendingException") >= 2 * LONGEST_SEEN, name
        assert waited(state, "Lambda.CodeArtifactUserPendingException") == RETRY_SECONDS


@pytest.mark.parametrize("machine", MACHINES, ids=["labeling", "roll-out"])
@pytest.mark.parametrize(
    "error",
    [
        "DeploymentError",
        "States.Timeout",
        "Lambda.Unknown",
        "Lambda.CodeArtifactUserFailedException",
        "Lambda.ResourceNotFoundException",
    ],
)
def test_what_does_not_pass_by_itself_is_not_tried_again(machine: dict[str, Any], error: str) -> None:
    for name, state in tasks(machine).items():
        assert waited(state, error) == 0, name
        assert not {"States.ALL", "States.TaskFailed"} & {one for r in state["Retry"] for one in r["ErrorEquals"]}


def test_errors_are_called_as_lambda_calls_them() -> None:
    model = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    known = {shape.name for shape in model.error_shapes} | OF_STEP_FUNCTIONS
    assert {name.removeprefix("Lambda.") for name in TRANSIENT} <= known


def test_an_execution_in_which_every_call_is_refused_to_the_last_retry_fits_the_history() -> None:
    """A round of a loop: the task with all its tries, two choices, the count, the wait."""
    machine = rollout({name: name for name in FUNCTIONS}, Times())
    tries = max(retrier["MaxAttempts"] for one in tasks(machine).values() for retrier in one["Retry"]) + 1
    of_round = 2 + 3 * tries + 2 + 2 + 2 + 2
    assert sum(loop.rounds for loop in Times().loops()) * of_round < MAX_EVENTS
    with pytest.raises(ValueError, match="events"):
        Times(claim=Loop(600, 120))
