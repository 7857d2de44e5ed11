"""The templates as they were when somebody last looked at them: ``make snapshots`` writes them anew.

Digests of assets are left out, and so are recipes and definitions of state machines and of the pipeline: they have
tests of their own, and a change of code elsewhere is none of the infrastructure.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from support.infra_templates import Templates

FOLDER = Path(__file__).parent / "snapshots"
STACKS = (
    *(
        ("dev", name)
        for name in ("api", "endpoint", "fleet", "labeling", "network", "registry", "rollout", "storage", "training")
    ),
    ("dev", "monitoring"),
    *(("sim", name) for name in ("page", "simulator")),
    ("delivered", "delivery"),
    *(("prod", name) for name in ("api", "endpoint", "network")),
    *(("lite", name) for name in ("endpoint", "fleet", "network")),
)
DEFINITIONS = {"DefinitionString", "InlineRecipe", "PipelineDefinitionBody"}


def normalised(value: Any) -> Any:
    """Without what changes with code elsewhere."""
    if isinstance(value, dict):
        return {
            normalised(name): "a definition" if name in DEFINITIONS else normalised(one) for name, one in value.items()
        }
    if isinstance(value, list):
        return [normalised(one) for one in value]
    if isinstance(value, str):
        return re.sub(r"Configuration[0-9a-f]{8}", "Configuration", re.sub(r"[0-9a-f]{64}", "DIGEST", value))
    return value


@pytest.mark.parametrize(("stage", "stack"), STACKS)
def test_a_template_is_as_it_was(templates: Templates, stage: str, stack: str) -> None:
    text = json.dumps(normalised(templates.stages[stage][stack]), indent=1, sort_keys=True) + "\n"
    path = FOLDER / f"{stage}-{stack}.json"
    if os.environ.get("WRITE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "look at the difference; make snapshots keeps it"


def test_there_are_no_snapshots_of_nothing() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {f"{stage}-{stack}.json" for stage, stack in STACKS}
