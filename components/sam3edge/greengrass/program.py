"""What the programs of all components have in common: logs, the thing's name, the connection, signals, exit status."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sam3edge.core.errors import ConnectionLost, EngineError, SettingsError, ThreadDied
from sam3edge.core.messages.topics import topics_of
from sam3edge.greengrass.client import GreengrassClient
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.greengrass.restarts import RestartBudget
from sam3edge.logs import configure_logs

logger = logging.getLogger(__name__)

DONE, NUCLEUS_LOST, MODEL_FAILED, REFUSED, BUNDLE_REFUSED, THREAD_DIED = 0, 3, 4, 5, 6, 7
"""Exit status. The nucleus restarts a component on any but 0; 1 and 2 are Python's own."""


@contextmanager
def watch_threads(on_death: Callable[[str, BaseException], None]) -> Iterator[None]:
    """Within the block, have ``on_death`` told of threads that end with an error, by their name."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread is not None else "?"
        logger.error("the thread %s has ended", name, exc_info=arguments.exc_value)
        if arguments.exc_value is not None:
            on_death(name, arguments.exc_value)

    before, threading.excepthook = threading.excepthook, hook
    try:
        yield
    finally:
        threading.excepthook = before


@dataclass(frozen=True, slots=True)
class Program:
    """What a running program has of its nucleus.

    Attributes:
        device: the thing's name, which is a level of our topics.
        stop: set by a signal when the program shall end in an orderly way.
    """

    device: str
    nucleus: Nucleus
    stop: threading.Event


def run_program(
    work: Callable[[Program], int],
    restarts: RestartBudget | None = None,
    connect: Callable[..., Nucleus] | None = None,
) -> int:
    """Connect to the nucleus, work, and say how it ended.

    A missing or impossible thing name is refused before anything is written or published.

    Args:
        work: the component's own part; returns its exit status.
        restarts: of a program that the nucleus starts again: without the nucleus or a model that runs, it ends only
            when it may.
        connect: makes the client, given ``on_lost``; ``GreengrassClient`` when left out.

    Returns:
        The exit status.
    """
    configure_logs("INFO")
    stop, lost = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def on_lost(error: ConnectionLost) -> None:
        logger.error("%s", error)
        lost.set()

    try:
        device = os.environ.get("AWS_IOT_THING_NAME", "")
        topics_of(device)
        if restarts is not None:
            restarts.started()
        nucleus = (connect or GreengrassClient)(on_lost=on_lost)
        try:
            status = work(Program(device, nucleus, stop))
        finally:
            nucleus.close()
    except ConnectionLost as error:
        logger.error("the connection to the nucleus is lost: %s", error)
        return _in_time(NUCLEUS_LOST, restarts, stop)
    except EngineError as error:
        logger.error("the model cannot run: %s", error)
        return _in_time(MODEL_FAILED, restarts, stop)
    except SettingsError as error:
        logger.error("the configuration is refused: %s", error)
        return REFUSED
    except ThreadDied as error:
        logger.error("%s", error)
        return THREAD_DIED
    return NUCLEUS_LOST if status == DONE and lost.is_set() else status


def _in_time(status: int, restarts: RestartBudget | None, stop: threading.Event) -> int:
    """Wait until the nucleus would start the program again."""
    pause = 0.0 if restarts is None else restarts.pause()
    if pause:
        logger.warning("the program ends in %.0f s, when its nucleus would start it again", pause)
        stop.wait(pause)
    return status
