"""The event that begins a roll-out, and how one approval begins one roll-out.

SageMaker sends "SageMaker Model Package State Change" several times for one change, and sends it for changes of
ModelLifeCycle, metadata and descriptions, too; every one carries the approval status that the package has. Which
members changed is in ``UpdatedModelPackageFields``; a package that is made as approved has none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3edge.validation import first_complaint

SOURCE = "aws.sagemaker"
DETAIL_TYPE = "SageMaker Model Package State Change"
APPROVED = "Approved"

MAX_NAME = 80
"""Characters of the name of an execution."""

_UNFIT = re.compile(r"[^A-Za-z0-9-]+")


class EventError(ValueError):
    """An event that is not a change of a model package."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval.

    Attributes:
        package_arn: of the model package.
        group: model package group.
        status: ``Approved``.
    """

    package_arn: str
    group: str
    status: str

    def execution_name(self, attempt: int = 1) -> str:
        """Name of the execution that rolls it out; the same for the same package and status.

        Step Functions starts one execution of a name in 90 days, so the event may come as often as it likes.

        Args:
            attempt: raised by a person who wants a roll-out of the same approval to be tried again.
        """
        group, _, version = self.package_arn.partition(":model-package/")[2].partition("/")
        identity = hashlib.sha256(f"{self.package_arn}\n{self.status}\n{attempt}".encode()).hexdigest()[:16]
        readable = _UNFIT.sub("-", f"{group}-{version}-{self.status}")
        return f"{readable[: MAX_NAME - 17]}-{identity}"

    def execution_input(self) -> dict[str, str]:
        """Input of the execution: nothing that differs between repetitions of an event."""
        return {"package_arn": self.package_arn, "group": self.group, "status": self.status}


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    package_arn: str = Field(alias="ModelPackageArn", pattern=r"^arn:[^:]+:sagemaker:[^:]+:\d{12}:model-package/\S+$")
    group: str = Field(alias="ModelPackageGroupName", min_length=1, max_length=63)
    status: str = Field(alias="ModelApprovalStatus", min_length=1)


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    detail_type: str = Field(alias="detail-type", pattern=f"^{DETAIL_TYPE}$")
    detail: _Detail


def event_pattern(group: str) -> dict[str, Any]:
    """EventBridge's pattern of approvals in one model package group."""
    return {
        "source": [SOURCE],
        "detail-type": [DETAIL_TYPE],
        "detail": {
            "ModelPackageGroupName": [group],
            "ModelApprovalStatus": [APPROVED],
            "$or": [
                {"UpdatedModelPackageFields": ["ModelApprovalStatus"]},
                {"UpdatedModelPackageFields": [{"exists": False}]},
            ],
        },
    }


def read_event(event: Mapping[str, Any]) -> Approval:
    """What an event says.

    Raises:
        EventError: it is another kind of event, or incomplete.
    """
    try:
        read = _Event.model_validate(event)
    except ValidationError as error:
        raise EventError(f"expected a change of a model package: {first_complaint(error)}") from error
    return Approval(read.detail.package_arn, read.detail.group, read.detail.status)
