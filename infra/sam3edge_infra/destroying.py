"""``make destroy``, before the stacks of a stage with ``data: delete`` go.

    python -m sam3edge_infra.destroying --stage dev [--confirm dev]

CloudFormation deletes neither what it has not made (devices, claims, what the roll-out has deployed) nor what holds
something (buckets, the group of models). So that goes first, once somebody has typed the stage's name: the CDK asks
only before it deletes the stacks, when all this is gone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from sam3edge.core.errors import SettingsError
from sam3edge_infra.account import session_of
from sam3edge_infra.devices import devices_of
from sam3edge_infra.emptying import delete_models, empty
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import Stage


def confirm(stage: Stage, answer: str | None, ask: Callable[[str], str]) -> None:
    """Let somebody say that they mean this stage.

    Args:
        answer: given on the command line; None asks for it.

    Raises:
        SettingsError: they did not, or the stage keeps its data.
    """
    stage.check_deletes_data()
    if answer is None:
        try:
            answer = ask(
                f"Devices, claims, deployments, models and all objects of {stage.name} in account {stage.account}, "
                f"{stage.region}, are deleted, and then its stacks. Type the stage's name to go on: "
            ).strip()
        except EOFError:
            answer = ""
    if answer != stage.name:
        raise SettingsError(f"expected {stage.name}, got {answer!r}; nothing was deleted")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sam3edge_infra.destroying",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", required=True, help="name of a file in infra/stages")
    parser.add_argument("--confirm", metavar="NAME", help="the stage's name, where nobody is there to type it")
    given = parser.parse_args(arguments)
    try:
        stage = read_stage(given.stage)
        confirm(stage, given.confirm, input)
        session = session_of(stage)
        devices_of(stage, session).retire()
        models = delete_models(session.client("sagemaker"), stage)
        objects = empty(session.resource("s3"), stage)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"devices and claims retired; {models} models and {objects} objects deleted\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
