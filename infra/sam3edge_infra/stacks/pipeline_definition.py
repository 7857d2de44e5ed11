"""The pipeline's definition as it is deployed: the repository's, with the account's role, network and defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam3edge_pipeline.definition

KEPT = Path(sam3edge_pipeline.definition.__file__).with_name("pipeline.json")


@dataclass(frozen=True, slots=True)
class DeployedDefinition:
    """What differs from the definition that is kept.

    Attributes:
        role_arn: of every step.
        subnets, security_groups: that the containers run in.
        defaults: of parameters, by name.
    """

    role_arn: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    defaults: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The definition.

        Raises:
            ValueError: a default is of no parameter.
        """
        document: dict[str, Any] = copy.deepcopy(json.loads(KEPT.read_text(encoding="utf-8")))
        parameters = {one["Name"]: one for one in document["Parameters"]}
        if unknown := self.defaults.keys() - parameters.keys():
            raise ValueError(f"expected parameters of {', '.join(parameters)}; got {', '.join(sorted(unknown))}")
        for name, value in self.defaults.items():
            parameters[name]["DefaultValue"] = value
        vpc = {"SecurityGroupIds": list(self.security_groups), "Subnets": list(self.subnets)}
        for step in steps_of(document):
            arguments = step["Arguments"]
            if step["Type"] == "Processing":
                arguments["RoleArn"] = self.role_arn
                arguments["NetworkConfig"] = {"VpcConfig": vpc}
            elif step["Type"] == "Training":
                arguments["RoleArn"] = self.role_arn
                arguments["VpcConfig"] = vpc
        return document


def steps_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every step, those behind conditions included."""
    waiting = list(document["Steps"])
    while waiting:
        step = waiting.pop(0)
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            waiting += step["Arguments"].get(branch, []) if step["Type"] == "Condition" else []
