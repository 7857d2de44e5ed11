"""What the commands of an operator have in common: a stage's name, and how an error ends them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from sam3edge.core.errors import SettingsError

EXPECTED = (SettingsError, OSError, BotoCoreError, ClientError)
"""Whose text says enough: what was asked for is wrong, or AWS or this computer refuses it."""


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Of ``python -m module``; the description is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_stage(parser: argparse.ArgumentParser) -> None:
    """Let it name a stage."""
    parser.add_argument("--stage", required=True, help="name of a file in infra/stages")


def exit_status(work: Callable[[], None], *also: type[Exception]) -> int:
    """0, or 2 after an error of ``EXPECTED``, or one of these, whose text is on standard error."""
    try:
        work()
    except (*EXPECTED, *also) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0
