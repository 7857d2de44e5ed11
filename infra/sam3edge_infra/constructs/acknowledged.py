"""Findings of cdk-nag that are as they should be: each with its reason, on the construct that it is about."""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from constructs import IConstruct


def acknowledge(construct: IConstruct, findings: Mapping[str, str]) -> None:
    """Accept findings on a construct and what is in it.

    Args:
        findings: id (``AwsSolutions-S1``; of IAM4 and IAM5 the full one, with what was found) to the reason.
    """
    given = [cdk.Acknowledgment(id=name, reason=reason) for name, reason in findings.items()]
    cdk.Validations.of(construct).acknowledge(*given)
