"""How our command lines speak to people: on standard error, errors in one paragraph. Needs rich and typer, which
devices do not have."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sam3edge.core.errors import Sam3EdgeError

console = Console(stderr=True)


class Printable(logging.Formatter):
    """Lines in which nothing moves the cursor or colours the terminal: names and topics are texts from outside."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, as logging names it
        """As the base class says, in one line."""
        return super().formatMessage(record).replace("\n", " ")

    def format(self, record: logging.LogRecord) -> str:
        """As the base class says; a traceback keeps its lines."""
        return "".join(c if c.isprintable() or c == "\n" else " " for c in super().format(record))


def say(text: str) -> None:
    """One line, or paragraphs, left as they are: a path that is broken into two lines cannot be copied."""
    console.print(text, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """Bars that say how many of how many are done, and how long the others may take or all have taken."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Errors that are meant for the user, in one paragraph and with exit status 2."""
    logging.basicConfig(level=logging.WARNING, handlers=[_log_handler()])
    try:
        yield
    except Sam3EdgeError as error:
        say(f"[bold red]refused:[/] {escape(str(error))}")
        raise typer.Exit(2) from error


def _log_handler() -> logging.Handler:
    """For people at a terminal in columns; a file or a journal has whole lines, however long."""
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console)
        handler.setFormatter(Printable("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(Printable("%(asctime)s %(levelname)s %(message)s"))
    return handler
