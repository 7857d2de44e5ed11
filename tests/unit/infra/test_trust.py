"""Who may take the roles of the templates: services of AWS, on behalf of the stage's account alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sam3edge_infra.stages.files import read_stage
from support.infra_templates import STAGES, VARIANTS, Templates

PASSED = "who names the role must pass it, which nobody can across accounts; that the service says for whom it acts "
UNBOUND = {
    "apigateway.amazonaws.com": PASSED + "is in no documentation of the role for logs",
    "credentials.iot.amazonaws.com": PASSED
    + "is in no documentation of role aliases: no device would have credentials",
    "ec2.amazonaws.com": PASSED + "is not so for profiles of instances",
    "lambda.amazonaws.com": PASSED + "is in no documentation of execution roles",
}
"""Services whose roles name no account, with the reason."""

ELSEWHERE = {"firehose.amazonaws.com": "sts:ExternalId"}
"""Services that say by another key for which account they act."""


def trusts(template: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Roles, services that may take them, and the conditions."""
    for name, one in template["Resources"].items():
        if one["Type"] == "AWS::IAM::Role":
            for statement in one["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
                assert statement["Principal"].keys() == {"Service"}, name
                yield name, statement["Principal"]["Service"], statement.get("Condition", {})


@pytest.mark.parametrize("stage", [*STAGES, VARIANTS])
def test_services_take_roles_for_the_stages_account_alone(templates: Templates, stage: str) -> None:
    account = read_stage("prod" if stage == VARIANTS else stage).account
    found = [(stack, *one) for stack, template in templates.stages[stage].items() for one in trusts(template)]
    bound = [one for one in found if one[2] not in UNBOUND]
    assert bound
    for stack, role, service, condition in bound:
        key = ELSEWHERE.get(service, "aws:SourceAccount")
        assert condition["StringEquals"][key] == account, (stack, role)
    assert all(not condition for _, _, service, condition in found if service in UNBOUND)


def test_every_exception_is_one(templates: Templates) -> None:
    services = {
        service
        for stacks in templates.stages.values()
        for template in stacks.values()
        for _, service, _ in trusts(template)
    }
    assert UNBOUND.keys() | ELSEWHERE.keys() <= services
