"""A limit on how long an endpoint may take, whatever the reason."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from sam3edge.core.errors import EndpointError
from sam3edge.core.ports import Endpoint
from sam3edge.core.types import Detections, Frame, Prompt


class EndpointWithDeadline:
    """Asks in a thread of its own and does not wait for longer than it was told.

    Time-outs of sockets do not cover all: names are looked up without one, credentials are fetched, and an endpoint
    that sends a byte now and then never times out. A request that was given up ends some time later; until then no
    other is begun, so there is one such thread at most. It does not keep the process from ending.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._thread: threading.Thread | None = None

    def ask(self, frame: Frame, prompts: Sequence[Prompt], seconds: float) -> Detections:
        """See ``Endpoint``."""
        if self._thread is not None and self._thread.is_alive():
            raise EndpointError("the previous request is still in progress, though it was given up")
        results: queue.SimpleQueue[Detections | BaseException] = queue.SimpleQueue()

        def work() -> None:
            try:
                results.put(self._endpoint.ask(frame, prompts, seconds))
            except BaseException as error:
                results.put(error)

        self._thread = threading.Thread(target=work, name="endpoint", daemon=True)
        self._thread.start()
        try:
            result = results.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise EndpointError(f"no response within {seconds:.1f} s", failure="timeout") from None
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """See ``Endpoint``; what was given up is left to end by itself."""
        if self._thread is None or not self._thread.is_alive():
            self._endpoint.close()
