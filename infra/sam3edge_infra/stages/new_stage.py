"""``make new_stage``: a stage file, by questions or by options. Nothing is written that is not accepted.

python -m sam3edge_infra.stages.new_stage
python -m sam3edge_infra.stages.new_stage --name test --account 111122223333 --region eu-west-1 --phrases "tank|pallet"

Without options a person is asked, again after a wrong answer; with options nobody is. What is not in the file has its
default; everything that may be in it is in stages/stage.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge.core.errors import SettingsError
from sam3edge_infra.stages.files import FOLDER, ROOT, stage_names, write_stage
from sam3edge_infra.stages.questions import Given, Question, questions
from sam3edge_infra.stages.stage import ClassicNucleus, LiteNucleus

PROGRAM = "python -m sam3edge_infra.stages.new_stage"


class Answers(Protocol):
    """Where answers come from."""

    def answer(self, question: Question, default: str) -> tuple[str, Any]:
        """An answer as it was given, and as its question reads it."""


class Options:
    """Options of the command line, and defaults. Everything that is wrong is said at once."""

    def __init__(self, told: Mapping[str, str]) -> None:
        self._told = dict(told)
        self._asked: set[str] = set()
        self._faults: list[str] = []

    def answer(self, question: Question, default: str) -> tuple[str, Any]:
        """See ``Answers``; what is wrong is no answer for now."""
        self._asked.add(question.option)
        text = self._told.get(question.option) or default
        if question.same_as and not text:
            return text, None  # what it would be the same as is missing, which is a fault enough
        try:
            if not text:
                raise ValueError(f"expected {question.accepted}; nothing was given")
            return text, question.read(text)
        except ValueError as error:
            self._faults.append(f"--{question.option} ({question.text}): {error}")
            return text, None

    def check(self, asked: Sequence[Question]) -> None:
        """Accept what was given.

        Args:
            asked: all that may be asked.

        Raises:
            SettingsError: something is wrong, missing, or of no use beside the other options.
        """
        faults = self._faults or [
            f"--{one.option} ({one.text}): expected only with {one.when.text}"
            for one in asked
            if one.option in self._told and one.option not in self._asked
        ]
        if faults:
            raise SettingsError("\n".join(faults))


class Person:
    """Somebody who is asked until the answer is accepted.

    Args:
        ask: shows a prompt and returns a line.
        say: shows a text.
    """

    def __init__(self, ask: Callable[[str], str], say: Callable[[str], object]) -> None:
        self._ask, self._say = ask, say

    def answer(self, question: Question, default: str) -> tuple[str, Any]:
        """See ``Answers``."""
        shown = f" [{default}]" if default else ""
        while True:
            text = self._ask(f"{question.text} ({question.accepted}){shown}: ").strip() or default
            try:
                if not text:
                    raise ValueError(f"expected {question.accepted}; nothing was given")
                return text, question.read(text)
            except ValueError as error:
                self._say(f"  {error}\n")


def collect(asked: Sequence[Question], answers: Answers, said: dict[str, str]) -> dict[str, Any]:
    """An answer to each question that is to be asked.

    Args:
        said: gets the answers as they were given, one after the other.
    """
    given: dict[str, Any] = {}
    for question in asked:
        if question.when.holds(given):
            default = said.get(question.same_as, question.default)
            said[question.option], given[question.option] = answers.answer(question, default)
    return given


def document_of(given: Given) -> dict[str, Any]:
    """The stage's document, of answers by option."""
    name = given["name"]
    endpoint = {"kind": given["endpoint"]}
    if "instance" in given:
        endpoint["instance_type"] = given["instance"]
    nucleus = {"kind": given["nucleus"]}
    for option, member in (("nucleus-sha256", "sha256"), ("plugin-sha256", "plugin_sha256")):
        if option in given:
            nucleus[member] = given[option]
    document: dict[str, Any] = {
        "name": name,
        "account": given["account"],
        "region": given["region"],
        "data": given["data"],
        "endpoint": endpoint,
        "network": _network(given),
        "containers": {"source": "build"}
        if given["containers"] is None
        else {"source": "pull", "tag": given["containers"]},
        "bundle": given["bundle"],
        "nucleus": nucleus,
        "fleet": _fleet(name, given),
        "labeling": {"phrases": given["phrases"]},
        "training": {},
    }
    if given.get("api"):
        document["api"] = {}
    if given["consumers"] is not None:
        document["consumers"] = {"destinations": given["consumers"]}
    if given["simulator"] is not None:
        document["simulator"] = {"instance_type": given["simulator"], "group": given["simulator-group"]}
    if given["live-page"] is not None:
        document["live_page"] = {"signing_key": given["live-page"], "commands": given["page-commands"]}
    if given["email"] is not None:
        document["monitoring"] = {"email": given["email"]}
    if given["delivery"] is not None:
        document["delivery"] = {"source": _source(given)}
    return document


def _network(given: Given) -> dict[str, Any]:
    if given["vpc"] == "new":
        return {"kind": "new", "cidr": given["cidr"], "egress": given.get("egress", "nat")}
    return {
        "kind": "existing",
        "vpc": given["vpc"],
        "cidr": given["cidr"],
        **{name.replace("-", "_"): given[name] for name in ("subnets", "zones", "route-tables")},
    }


def _fleet(name: str, given: Given) -> dict[str, Any]:
    fleet: dict[str, Any] = {"canary_group": f"sam3edge-{name}-canary", "fleet_group": f"sam3edge-{name}-fleet"}
    if "fallback" in given:
        fleet["endpoint_fallback"] = given["fallback"]
    if given["first-deployment"] is not None:
        nucleus = ClassicNucleus(kind="classic") if given["nucleus"] == "classic" else LiteNucleus(kind="lite")
        first: dict[str, Any] = {
            "code": sam3edge.__version__,
            "nucleus": {"kind": nucleus.kind, "version": nucleus.version},
            "fallback": "endpoint" if fleet.get("endpoint_fallback") == "allowed" else "none",
            "prompts": given["first-deployment"],
        }
        if given["bundle"]["source"] == "assets":  # of any other bundle the roll-out makes the component
            first["model"] = read_manifest(ROOT / given["bundle"]["path"]).version
        fleet["first_deployment"] = first
    return fleet


def _source(given: Given) -> dict[str, Any]:
    if given["delivery"] == "codeconnections":
        told = {"connection": given["connection"], "repository": given["repository"], "branch": given["branch"]}
    elif given["delivery"] == "codecommit":
        told = {"repository": given["codecommit"], "branch": given["branch"]}
    else:
        told = {"bucket": given["sources-bucket"], "key": given["sources-key"]}
    return {"kind": given["delivery"], **told}


def command_of(asked: Sequence[Question], said: Mapping[str, str]) -> str:
    """The command that gives the same answers."""
    told = {one.option: said[one.option] for one in asked if said.get(one.option, one.default) != one.default}
    return f"{PROGRAM} {shlex.join(part for option, text in told.items() for part in (f'--{option}', text))}"


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Command line: without any option it asks for everything, with one it asks for nothing."""
    asked = questions(stage_names(folder))
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for question in asked:
        only = f"; only with {question.when.text}" if question.when.text else ""
        parser.add_argument(f"--{question.option}", help=f"{question.text}: {question.accepted}{only}")
    told = {name.replace("_", "-"): text for name, text in vars(parser.parse_args(arguments)).items() if text}
    said: dict[str, str] = {}
    try:
        if told:
            options = Options(told)
            given = collect(asked, options, said)
            options.check(asked)
        else:
            given = collect(asked, Person(input, sys.stderr.write), said)
        path = write_stage(document_of(given), folder)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        if not told:
            sys.stderr.write(f"nothing was written; to change an answer: {command_of(asked, said)}\n")
        return 2
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write(f"\nnothing was written; so far: {command_of(asked, said)}\n")
        return 2
    sys.stdout.write(
        f"{path}: look through it, what is not in it has its default; then make deploy STAGE={given['name']}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
