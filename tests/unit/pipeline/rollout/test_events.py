"""Which events begin a roll-out, and that one approval begins one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.events.models import EventPattern

from sam3edge_pipeline.rollout.events import MAX_NAME, Approval, EventError, event_pattern, read_event
from sam3edge_simulator.loop.rollout import approval_event as event
from support.rollout_rig import GROUP

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/sam3edge/7"


@pytest.mark.parametrize(
    ("given_event", "passes"),
    [
        (event(ARN, "Approved"), True),
        (event(ARN, "Approved", None), True),
        (event(ARN, "Approved", ["ModelApprovalStatus", "ApprovalDescription"]), True),
        (event(ARN, "Approved", ["ModelLifeCycle"]), False),
        (event(ARN, "Approved", ["CustomerMetadataProperties"]), False),
        (event(ARN, "Rejected"), False),
        (event(ARN, "PendingManualApproval"), False),
        (event(ARN.replace("sam3edge/", "another/"), "Approved"), False),
        ({**event(ARN, "Approved"), "detail-type": "SageMaker Model Card State Change"}, False),
        ({**event(ARN, "Approved"), "source": "aws.iot"}, False),
    ],
)
def test_only_approvals_pass(given_event: dict[str, Any], passes: bool) -> None:
    assert EventPattern(None, event_pattern(GROUP)).matches_event(given_event) is passes


def test_the_same_package_and_status_have_one_name_whatever_else_the_event_says() -> None:
    first = read_event(event(ARN, "Approved"))
    again = read_event({**event(ARN, "Approved", None), "id": "another", "time": "2030-01-01T00:00:00Z"})
    assert first == again
    assert first.execution_name() == again.execution_name()
    assert first.execution_input() == again.execution_input()


def test_another_package_status_or_attempt_has_another_name() -> None:
    arns = (ARN, ARN.replace("sam3edge/7", "sam3edge/8"), ARN.replace("eu-west-1", "us-east-1"))
    names = {Approval(arn, GROUP, status).execution_name() for arn in arns for status in ("Approved", "Rejected")}
    names.add(Approval(ARN, GROUP, "Approved").execution_name(2))
    assert len(names) == 7


@given(group=st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]){0,62}", fullmatch=True), version=st.integers(1, 10**6))
def test_names_are_what_step_functions_takes(group: str, version: int) -> None:
    name = Approval(f"arn:aws:sagemaker:x:123456789012:model-package/{group}/{version}", group, "Approved")
    assert len(name.execution_name()) <= MAX_NAME
    assert name.execution_name().replace("-", "").isalnum()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "detail"),
        ({**event(ARN, "Approved"), "detail-type": "Another"}, "detail-type"),
        ({**event(ARN, "Approved"), "detail": {"ModelPackageGroupName": "x"}}, "ModelPackageArn"),
        (event("arn:aws:sagemaker:x:1:model-package/a/1", "Approved"), "ModelPackageArn"),
    ],
)
def test_what_is_another_event_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(EventError, match=says):
        read_event(wrong)
