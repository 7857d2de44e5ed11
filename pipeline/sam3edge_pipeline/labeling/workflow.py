"""The labeling workflow as a definition of Step Functions (Amazon States Language, JSONPath).

    check -> enough? -> label, by the backend -> wait, bounded -> verify -> store

Each step is one Lambda function, see ``steps``. Every failure ends in a state that says which step failed and why.

An execution's input is ``{"backend", "dataset", "version", "parent"}``; its name is the labeling job's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sam3edge_pipeline.lambda_tasks import retries

BACKENDS = ("files", "ground-truth", "review")

_INVOKE = "arn:aws:states:::lambda:invoke"


@dataclass(frozen=True, slots=True)
class StepFunctions:
    """The Lambda functions of the steps, by name or ARN."""

    check: str
    start: str
    status: str
    verify: str
    store: str


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """Bounds of the workflow.

    Attributes:
        minimum: images that are worth a labeling job.
        maximum: images of one job; others wait for the next.
        minimum_share: of the images must have labels of every phrase, or nothing is stored.
        poll_seconds: between two looks at the job.
        polls: looks after which the job is given up; a week by default.
    """

    minimum: int = 20
    maximum: int = 1000
    minimum_share: float = 0.95
    poll_seconds: int = 900
    polls: int = 672

    def __post_init__(self) -> None:
        if not (0 < self.minimum <= self.maximum and self.poll_seconds > 0 and self.polls > 0):
            raise ValueError("expected 0 < minimum <= maximum, and positive poll_seconds and polls")
        if not 0 < self.minimum_share <= 1:
            raise ValueError(f"expected a minimum_share above 0 and up to 1, got {self.minimum_share}")


def definition(functions: StepFunctions, settings: WorkflowSettings) -> dict[str, Any]:
    """The state machine; the same arguments give the same definition.

    An execution visits at most four states a poll, so the service's limit of 25,000 events bounds ``polls`` to about
    2,000.
    """
    job = {"job.$": "$$.Execution.Name"}
    labeling = {**job, "backend.$": "$.backend"}
    states: dict[str, Any] = {
        "CheckUnlabeled": _task(
            functions.check, {**job, "maximum": settings.maximum}, "count", "$.check", "Enough", "CheckFailed"
        ),
        "Enough": {
            "Type": "Choice",
            "Choices": [_number("$.check.count", "GreaterThanEquals", settings.minimum, "ChooseBackend")],
            "Default": "NotEnough",
        },
        "NotEnough": {"Type": "Succeed"},
        "ChooseBackend": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.backend", "StringEquals": backend, "Next": f"Start-{backend}"} for backend in BACKENDS
            ],
            "Default": "UnknownBackend",
        },
        "UnknownBackend": _fail("UnknownBackend", f"expected the backend {', '.join(BACKENDS)}"),
    }
    for backend in BACKENDS:
        states[f"Start-{backend}"] = _task(
            functions.start, {**job, "backend": backend}, "job", "$.started", "BeginPolling", "StartFailed"
        )
    return {
        "Comment": "Check for unlabeled images, have them labeled, verify the labels, store a dataset version",
        "StartAt": "CheckUnlabeled",
        "States": {
            **states,
            "BeginPolling": {"Type": "Pass", "Result": {"count": 0}, "ResultPath": "$.polls", "Next": "Wait"},
            "Wait": {"Type": "Wait", "Seconds": settings.poll_seconds, "Next": "CountPolls"},
            "CountPolls": {
                "Type": "Pass",
                "Parameters": {"count.$": "States.MathAdd($.polls.count, 1)"},
                "ResultPath": "$.polls",
                "Next": "Status",
            },
            "Status": _task(functions.status, labeling, "state reason", "$.status", "Labeled", "StatusFailed"),
            "Labeled": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.status.state", "StringEquals": "completed", "Next": "Verify"},
                    {"Variable": "$.status.state", "StringEquals": "failed", "Next": "LabelingFailed"},
                    _number("$.polls.count", "GreaterThanEquals", settings.polls, "LabelingTimedOut"),
                ],
                "Default": "Wait",
            },
            "Verify": _task(
                functions.verify,
                {**labeling, "minimum_share": settings.minimum_share},
                "labeled missing",
                "$.verified",
                "Store",
                "VerificationFailed",
            ),
            "Store": _task(
                functions.store,
                {**labeling, "dataset.$": "$.dataset", "version.$": "$.version", "parent.$": "$.parent"},
                "version digest examples",
                "$.stored",
                "Done",
                "StoreFailed",
            ),
            "Done": {"Type": "Pass", "OutputPath": "$.stored", "End": True},
            "CheckFailed": _failed("CheckFailed"),
            "StartFailed": _failed("StartFailed"),
            "StatusFailed": _failed("StatusFailed"),
            "LabelingFailed": {"Type": "Fail", "Error": "LabelingFailed", "CausePath": "$.status.reason"},
            "LabelingTimedOut": _fail("LabelingTimedOut", f"the job was not completed within {settings.polls} looks"),
            "VerificationFailed": _failed("VerificationFailed"),
            "StoreFailed": _failed("StoreFailed"),
        },
    }


def _task(
    function: str, payload: dict[str, Any], members: str, result: str, following: str, failed: str
) -> dict[str, Any]:
    """Call a function, keep the named members of what it returns."""
    return {
        "Type": "Task",
        "Resource": _INVOKE,
        "Parameters": {"FunctionName": function, "Payload": payload},
        "ResultSelector": {f"{name}.$": f"$.Payload.{name}" for name in members.split()},
        "ResultPath": result,
        "TimeoutSeconds": 900,
        "Retry": retries(),
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": failed}],
        "Next": following,
    }


def _number(variable: str, comparison: str, value: float, following: str) -> dict[str, Any]:
    return {"Variable": variable, f"Numeric{comparison}": value, "Next": following}


def _fail(error: str, cause: str) -> dict[str, Any]:
    return {"Type": "Fail", "Error": error, "Cause": cause}


def _failed(error: str) -> dict[str, Any]:
    return {"Type": "Fail", "Error": error, "CausePath": "$.error.Cause"}
