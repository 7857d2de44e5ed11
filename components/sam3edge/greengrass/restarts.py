"""How often a program may end, so that its nucleus starts it again.

Three failures within an hour are BROKEN on nucleus lite, for good; the classic nucleus counts three, too. A device that
cannot be visited must not spend them on what passes by itself. So starts are remembered in the work folder, and a
program that has to end asks first whether it may, and works on until then.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from sam3edge.durable import make_folder, write_file

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 3600.0
"""In which the nucleus counts failures."""

ALLOWED_STARTS = 1
"""In that time, this one included, before another failure. Each start may have followed a failure, and the one to come
makes one more: two of the three. The third is left for what nobody can choose."""


class RestartBudget:
    """The starts of one program.

    Args:
        file: where they are kept; a damaged one counts as empty.
        window: seconds in which the nucleus counts failures.
        clock: seconds since the epoch.
    """

    def __init__(self, file: Path, window: float = WINDOW_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._window = window
        self._clock = clock
        self._starts = _read(file)

    def started(self) -> None:
        """Remember that the program has started now."""
        self._starts = [*self._recent(), self._clock()][-10:]
        try:
            make_folder(self._file.parent)
            write_file(self._file, json.dumps(self._starts).encode())
        except OSError as error:
            logger.warning("the start of this program cannot be remembered: %s", error)

    def pause(self) -> float:
        """Seconds until the program may end with a failure; 0 when it may now."""
        recent = sorted(self._recent())
        if len(recent) <= ALLOWED_STARTS:
            return 0.0
        return max(0.0, recent[-1 - ALLOWED_STARTS] + self._window - self._clock())

    def _recent(self) -> list[float]:
        """A clock that was set back leaves starts in the future: they count as long as they are near."""
        now = self._clock()
        return [start for start in self._starts if abs(now - start) < self._window]


def _read(file: Path) -> list[float]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    numbers = value if isinstance(value, list) else []
    return [float(n) for n in numbers if isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e12]
