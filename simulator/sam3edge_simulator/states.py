"""States of a component, as the developer guide names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class State(str, Enum):
    """The state of a component in its lifecycle."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    FINISHED = "FINISHED"
    ERRORED = "ERRORED"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One step of one component.

    Attributes:
        component: whose state changed.
        before: the state it left.
        after: the state it is in now.
        reason: why, for ERRORED and BROKEN; else empty.
    """

    component: str
    before: State
    after: State
    reason: str = ""


StateListener: TypeAlias = Callable[[StateChange], None]
"""Called from the component's own thread; must not block."""
