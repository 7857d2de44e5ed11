"""What the guide has people type: what is called accepts it, and configurations are those of the simulator."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from typing import Any, NoReturn

import pytest
import yaml

from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.devices import CERTIFICATE, KEY
from sam3edge_infra.stacks.fleet import fleet_of
from sam3edge_infra.stacks.user_data import FOLDER as USER_DATA
from sam3edge_infra.stages.files import FOLDER as STAGES
from sam3edge_infra.stages.files import ROOT, parse_stage, read_stage
from sam3edge_infra.stages.stage import ClassicNucleus

TEXTS = {name: (ROOT / name).read_text() for name in ("docs/deployment.md", "infra/devices.md", "infra/README.md")}
COMMAND = re.compile(r"([\w./]*python) -m (sam3edge[\w.]+)([^`\n]*)")
COMMANDS = [found for text in TEXTS.values() for found in COMMAND.findall(text)]
PLACES = {
    "$folder/claim/claim.pem": "/greengrass/claim/claim.pem",
    "$folder/AmazonRootCA1.pem": "/greengrass/AmazonRootCA1.pem",
    "$root/var": "/var",
    "$folder": "/greengrass/v2",
    "$NUCLEUS_VERSION": ClassicNucleus(kind="classic").version,
    "$REGION": "eu-central-1",
    "$data": "xxxxxxxxxxxxxx-ats.iot.eu-central-1.amazonaws.com",
    "$credentials": "xxxxxxxxxxxxxx.credentials.iot.eu-central-1.amazonaws.com",
    "$ROLE_ALIAS": fleet_of(naming_of(read_stage("dev")), read_stage("dev")).role_alias,
    "$TEMPLATE": fleet_of(naming_of(read_stage("dev")), read_stage("dev")).template,
    "$SERIAL": "cam-7",
}
"""What the guide writes for what the simulator's script is told; longer names before those that they begin with."""


class Accepted(Exception):
    """The arguments were."""


def test_there_are_commands_and_all_have_the_environments_python() -> None:
    assert len(COMMANDS) > 10
    assert {python for python, _, _ in COMMANDS} == {".venv/bin/python"}


@pytest.mark.parametrize(("module", "arguments"), [(module, told) for _, module, told in COMMANDS])
def test_what_people_are_told_to_type_is_accepted(module: str, arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *told: Any) -> NoReturn:
        parse(parser, *told)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    try:
        program = importlib.import_module(f"{module}.__main__")
    except ModuleNotFoundError:
        program = importlib.import_module(module)
    with pytest.raises(Accepted):
        program.main(shlex.split(arguments, comments=True))


@pytest.mark.parametrize("nucleus", ["classic", "lite"])
def test_a_devices_nucleus_is_configured_as_the_simulators(nucleus: str) -> None:
    script = (USER_DATA / "simulator.sh").read_text().partition(f"install_{nucleus}() {{")[2]
    wanted = script.partition("<<YAML\n")[2].partition("\nYAML\n")[0]
    for variable, value in PLACES.items():
        wanted = wanted.replace(variable, value)
    name = {"classic": "FleetProvisioningByClaim", "lite": "fleet_provisioning"}[nucleus]
    blocks = re.findall(r"```yaml\n(services:.*?|system:.*?)```", TEXTS["infra/devices.md"], re.DOTALL)
    (written,) = [yaml.safe_load(one) for one in blocks if f"aws.greengrass.{name}" in one]
    assert written == yaml.safe_load(wanted)
    assert all(f"/greengrass/claim/{one}" in str(written) for one in (CERTIFICATE, KEY))


def test_prod_is_accepted_as_the_guide_deploys_it_first() -> None:
    """Nothing of it needs a model package of its own, or an endpoint."""
    (told,) = re.findall(r"```yaml\n(   endpoint: .*?)```", TEXTS["docs/deployment.md"], re.DOTALL)
    prod = yaml.safe_load((STAGES / "prod.yaml").read_text())
    del prod["api"]
    first = parse_stage(prod | yaml.safe_load(told), "the guide")
    assert (first.endpoint.kind, first.bundle.source, first.containers.source) == ("none", "assets", "pull")
