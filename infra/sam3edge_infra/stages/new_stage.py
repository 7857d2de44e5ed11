"""``make new_stage``: a stage file, by questions or by options. Nothing is written that is not accepted.

python -m sam3edge_infra.stages.new_stage
python -m sam3edge_infra.stages.new_stage --name test --account 111122223333 --region eu-west-1 --phrases "tank|pallet"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge_infra.stages.files import FOLDER, write_stage

BETWEEN = "|"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        option: on the command line, without dashes.
        accepted: what may be answered, for people; the stage's own checks decide.
        default: what no answer means.
        asked: whether an answer is needed, by those given before.
    """

    option: str
    text: str
    accepted: str
    default: str = ""
    asked: Callable[[dict[str, str]], bool] = lambda given: True


QUESTIONS = (
    Question("name", "Name of the stage", "1 to 12 lower-case letters and digits"),
    Question("account", "AWS account", "12 digits"),
    Question("region", "Region", "such as eu-central-1", "eu-central-1"),
    Question("data", "Data when the stage is destroyed", "keep or delete", "keep"),
    Question("endpoint", "Endpoint", "instance, async, serverless or none", "instance"),
    Question(
        "instance",
        "Instance type of the endpoint",
        "such as ml.c7i.xlarge, or ml.g6e.xlarge with a GPU",
        "ml.c7i.xlarge",
        lambda given: given["endpoint"] in ("instance", "async"),
    ),
    Question("vpc", "Network", "new, or the id of an existing VPC", "new"),
    Question(
        "egress",
        "Way out of the new VPC",
        "none, or nat for simulators",
        "none",
        lambda given: given["vpc"] == "new",
    ),
    Question("cidr", "Range of the VPC", "such as 10.40.0.0/16", "10.40.0.0/16"),
    Question(
        "subnets", "Private subnets", "two or more ids, | between them", asked=lambda given: given["vpc"] != "new"
    ),
    Question("zones", "Their zones", "in the same order, | between them", asked=lambda given: given["vpc"] != "new"),
    Question(
        "route-tables",
        "Their route tables",
        "in the same order, | between them",
        asked=lambda given: given["vpc"] != "new",
    ),
    Question("containers", "Images of containers", "build, or the tag of images in ECR", "build"),
    Question(
        "bundle",
        "Bundle of the endpoint",
        "assets/<folder>, s3://..., or the version of a model package",
        "assets/demo-bundle",
    ),
    Question("nucleus", "Nucleus of devices", "classic or lite", "classic"),
    Question("phrases", "Phrases that devices learn", "| between them"),
    Question("api", "API in front of the endpoint", "yes or no", "yes", lambda given: given["endpoint"] != "none"),
)


def document_of(given: dict[str, str]) -> dict[str, Any]:
    """The stage's document, of answers by option; what is wrong in it is said when it is checked."""
    name = given["name"]
    endpoint: dict[str, Any] = {"kind": given["endpoint"]}
    if "instance" in given:
        endpoint["instance_type"] = given["instance"]
    document: dict[str, Any] = {
        "name": name,
        "account": given["account"],
        "region": given["region"],
        "data": given["data"],
        "endpoint": endpoint,
        "network": _network(given),
        "containers": {"source": "build"}
        if given["containers"] == "build"
        else {"source": "pull", "tag": given["containers"]},
        "bundle": _bundle(given["bundle"]),
        "nucleus": {"kind": given["nucleus"]},
        "fleet": {"canary_group": f"sam3edge-{name}-canary", "fleet_group": f"sam3edge-{name}-fleet"},
        "labeling": {"phrases": _list(given["phrases"])},
        "training": {},
    }
    if given.get("api", "no") != "no":
        document["api"] = {}
    return document


def _network(given: dict[str, str]) -> dict[str, Any]:
    if given["vpc"] == "new":
        return {"kind": "new", "cidr": given["cidr"], "egress": given["egress"]}
    return {
        "kind": "existing",
        "vpc": given["vpc"],
        "cidr": given["cidr"],
        **{name.replace("-", "_"): _list(given[name]) for name in ("subnets", "zones", "route-tables")},
    }


def _bundle(text: str) -> dict[str, Any]:
    if text.startswith("s3://"):
        return {"source": "s3", "uri": text}
    if text.isdecimal():
        return {"source": "registry", "version": int(text)}
    return {"source": "assets", "path": text}


def _list(text: str) -> list[str]:
    return [one.strip() for one in text.split(BETWEEN) if one.strip()]


def answers(options: dict[str, str | None], ask: Callable[[str], str] | None) -> dict[str, str]:
    """An answer to each question that is to be asked.

    Args:
        options: given on the command line, by option.
        ask: puts a question to a person; None where nobody is there, so that defaults are taken.

    Raises:
        SettingsError: there is no answer and no default.
    """
    given: dict[str, str] = {}
    for question in QUESTIONS:
        if not question.asked(given):
            continue
        found = options.get(question.option)
        if found is None and ask is not None:
            default = f" [{question.default}]" if question.default else ""
            found = ask(f"{question.text} ({question.accepted}){default}: ").strip() or None
        found = found or question.default
        if not found:
            raise SettingsError(f"expected --{question.option}: {question.accepted}; nothing was given")
        given[question.option] = found
    return given


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Command line: without any option it asks for everything, with one it asks for nothing."""
    parser = argparse.ArgumentParser(
        prog="python -m sam3edge_infra.stages.new_stage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for question in QUESTIONS:
        parser.add_argument(f"--{question.option}", help=f"{question.text}: {question.accepted}")
    options = {name.replace("_", "-"): value for name, value in vars(parser.parse_args(arguments)).items()}
    try:
        given = answers(options, input if not any(options.values()) else None)
        path = write_stage(document_of(given), folder)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{path}: look through it, what is not in it has its default; then make deploy STAGE={given['name']}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
