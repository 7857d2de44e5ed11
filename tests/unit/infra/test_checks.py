"""The templates by other tools' rules. cdk-nag has judged them when they were synthesised: it ends synthesis."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.infra_templates import STAGES, VARIANTS, Templates

ASL_VALIDATOR = Path(__file__).parents[3] / "infra" / "node" / "node_modules" / ".bin" / "asl-validator"

CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))

IGNORED = {
    "W3005": "the CDK names a role beside its policy in DependsOn, which is one name more than needed",
    "E3703": "CDK Pipelines joins the parts of its actions' texts by Fn::Join, where cfn-lint likes Fn::Sub better",
}
"""Checks of cfn-lint, each with the reason why it is of no use here."""


def test_every_stage_was_synthesised_and_nag_had_nothing_to_say(templates: Templates) -> None:
    for stage in STAGES:
        report = json.loads((templates.root / stage / "validation-report.json").read_text())
        assert [one["pluginName"] for one in report["pluginReports"] if one["conclusion"] != "success"] == []
    stacks = {stage: set(templates.stages[stage]) for stage in STAGES}
    everywhere = {"storage", "network", "registry", "labeling", "training", "rollout"}
    assert stacks["none"] >= everywhere
    assert stacks["none"].isdisjoint({"endpoint", "api"})
    for stage in ("delivered", "dev", "prod", "lite"):
        assert stacks[stage] >= everywhere | {"endpoint", "api"}
    assert "simulator" in stacks["sim"]
    assert "delivery" in stacks["delivered"]


@pytest.mark.long
@pytest.mark.parametrize(
    "stages",
    [("sim", "delivered", VARIANTS), pytest.param((*STAGES, VARIANTS), marks=pytest.mark.slow)],
    ids=["those that have every stack", "all"],
)
def test_cfn_lint_finds_nothing(stages: tuple[str, ...], templates: Templates) -> None:
    paths = sorted(str(path) for path in templates.paths if path.relative_to(templates.root).parts[0] in stages)
    assert len(paths) > 20
    ran = subprocess.run(
        [CFN_LINT, "--format", "json", "--ignore-checks", *IGNORED, "--template", *paths],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found = [(one["Rule"]["Id"], one["Filename"], one["Message"]) for one in json.loads(ran.stdout or "[]")]
    assert found == []
    assert ran.returncode == 0, ran.stderr


def test_cfn_lint_would_find_something(templates: Templates, tmp_path: Path) -> None:
    template = json.loads(json.dumps(templates.stages["dev"]["endpoint"]))
    [configuration] = [one for one in template["Resources"].values() if one["Type"] == "AWS::SageMaker::EndpointConfig"]
    configuration["Properties"]["ProductionVariants"][0]["InstanceType"] = "ml.x9.huge"
    path = tmp_path / "broken.template.json"
    path.write_text(json.dumps(template))
    ran = subprocess.run([CFN_LINT, str(path)], capture_output=True, text=True, check=False)
    assert "ml.x9.huge" in ran.stdout


def machines(templates: Templates) -> dict[str, str]:
    """Definitions by stage and stack."""
    return {
        f"{stage}-{stack}": machine["DefinitionString"]
        for stage, stacks in templates.stages.items()
        for stack in stacks
        for machine in templates.resources(stage, stack, "AWS::StepFunctions::StateMachine").values()
    }


def valid(*paths: Path) -> bool:
    """Whether asl-validator finds nothing in any of the definitions."""
    if not ASL_VALIDATOR.exists() or shutil.which("node") is None:
        pytest.skip("asl-validator is not installed; npm ci --prefix infra/node")
    ran = subprocess.run(
        [str(ASL_VALIDATOR), *(f"--json-path={path}" for path in paths)], capture_output=True, check=False
    )
    return ran.returncode == 0


def test_state_machines_are_valid(templates: Templates, tmp_path: Path) -> None:
    found = machines(templates)
    assert {f"{stage}-{stack}" for stage in STAGES for stack in ("rollout", "labeling")} <= found.keys()
    paths = [tmp_path / f"{number}.json" for number in range(len(found))]
    for path, text in zip(paths, found.values(), strict=True):
        path.write_text(text)
    assert valid(*paths)


def test_the_validator_would_find_a_state_that_is_not_there(templates: Templates, tmp_path: Path) -> None:
    text = machines(templates)["dev-labeling"]
    good, broken = tmp_path / "good.json", tmp_path / "broken.json"
    good.write_text(text)
    broken.write_text(text.replace('"Next": "Wait"', '"Next": "Nowhere"'))
    assert valid(good)
    assert not valid(broken, good)
    assert not valid(good, broken)
