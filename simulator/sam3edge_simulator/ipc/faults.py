"""What can be made to go wrong between a component and the nucleus."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from sam3edge_simulator.ipc.errors import IpcError


@dataclass(frozen=True, slots=True)
class Fail:
    """Answer with this error; the service never sees the request."""

    error: IpcError


@dataclass(frozen=True, slots=True)
class Delay:
    """Handle the request only after this many seconds; later requests of the same connection wait behind it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection instead of answering.

    Attributes:
        handled: whether the service sees the request first. With True the effect took place and the client cannot
            know it: the case in which a message is delivered twice.
    """

    handled: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """Never answer; the connection stays open. The service sees the request."""


Fault = Fail | Delay | Drop | Silence


class Faults:
    """Faults waiting to happen. Used by several threads at once.

    Faults of one operation happen in the order in which they were injected, one per request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[Fault, int | None]]] = {}
        self._refused: set[str] = set()
        self._refuse_all = False

    def inject(self, operation: str, fault: Fault, *, times: int | None = 1) -> None:
        """Let the next requests go wrong.

        Args:
            operation: name without namespace, ``PublishToIoTCore``; ``*`` for every operation.
            fault: what happens.
            times: to how many requests; None until ``clear``.
        """
        with self._lock:
            self._waiting.setdefault(operation, deque()).append((fault, times))

    def refuse_token(self, token: str | None = None) -> None:
        """Refuse new connections with this token, or all of them: as after a restart of the nucleus."""
        with self._lock:
            if token is None:
                self._refuse_all = True
            else:
                self._refused.add(token)

    def clear(self) -> None:
        """Let everything work again."""
        with self._lock:
            self._waiting.clear()
            self._refused.clear()
            self._refuse_all = False

    def refuses(self, token: str) -> bool:
        """Whether a connection with this token is to be refused."""
        with self._lock:
            return self._refuse_all or token in self._refused

    def next(self, operation: str) -> Fault | None:
        """Take the fault for one request of ``operation``; those injected for ``*`` come after its own."""
        with self._lock:
            for key in (operation, "*"):
                waiting = self._waiting.get(key)
                if not waiting:
                    continue
                fault, times = waiting.popleft()
                if times is None:
                    waiting.appendleft((fault, None))
                elif times > 1:
                    waiting.appendleft((fault, times - 1))
                return fault
        return None
