"""One lifecycle step as a process group of its own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from sam3edge_simulator.component_log import ComponentLog

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 * 1024
_PIPES_CLOSE_SECONDS = 5.0

_GUARD = """
read -r group || exit 0
read -r _
kill -s TERM -- "-$group"
sleep 10
kill -s KILL -- "-$group"
"""


class _Guard:
    """Ends a process group after this process has been killed, when nobody holds the guard's input any more: a real
    nucleus's components end with their service.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Begin, with this group."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{group}\n".encode())
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """Nothing is left to guard."""
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()


class StepProcess:
    """A running script; its output goes to the component's log line by line.

    The group of the process lives until ``stop``, so that what a ``startup`` script left behind can be ended with it.
    If this process is killed, the group ends, too.

    Args:
        script: what ``/bin/sh -c`` runs.
        environment: the whole environment of the process.
        folder: where it runs.
        log: where its output goes.
        ended: called once, from a thread of its own, with the exit status (negative: the signal that ended it).

    Raises:
        OSError: it could not be started.
    """

    def __init__(
        self,
        script: str,
        environment: Mapping[str, str],
        folder: Path,
        logger: ComponentLog,
        ended: Callable[[int], None],
    ) -> None:
        self._ended = ended
        self.logger = logger
        self._status: int | None = None
        self._done = threading.Event()
        self._guard = _Guard()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", script],
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            self._guard.dismiss()
            raise
        self._guard.watch(self._process.pid)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._copy, args=(self._process.stdout, "INFO", "stdout"), daemon=True),
            threading.Thread(target=self._copy, args=(self._process.stderr, "WARN", "stderr"), daemon=True),
            threading.Thread(target=self._watch, name=f"step-{self.pid}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Process id of the shell, which is also the id of the group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._status

    def wait(self, timeout: float | None) -> int | None:
        """Wait for the end of the shell, ``timeout`` seconds at most.

        Returns:
            The exit status; None when it still runs.
        """
        self._done.wait(timeout)
        return self._status

    def stop(self, grace: float) -> None:
        """End the whole group: SIGTERM, and SIGKILL for what is left after ``grace`` seconds. Idempotent."""
        if self._process.returncode is not None:
            return
        end = time.monotonic() + grace
        self._signal(signal.SIGTERM)
        self._done.wait(grace)
        # A shell dies of SIGTERM at once; the program that it started may still be putting things in order.
        while time.monotonic() < end and self._others_alive():
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._done.wait()
        self._guard.dismiss()  # before the group's number can be given to another one
        self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_PIPES_CLOSE_SECONDS)
                if thread.is_alive():
                    logger.warning("process %d left a child outside its group that keeps its output open", self.pid)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _others_alive(self) -> bool:
        """Whether the group has a living process."""
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError, ValueError):
                state, _, group = entry.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and state != "Z":
                    return True
        return False

    def _watch(self) -> None:
        # The dead shell is not reaped before the group is killed: until then nobody else can be given its number.
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert result is not None
        self._status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self._done.set()
        self._ended(self._status)

    def _copy(self, pipe: IO[bytes], level: str, origin: str) -> None:
        with pipe:
            while line := pipe.readline(MAX_LINE_BYTES):
                self.logger.write(level, line.decode(errors="replace").rstrip("\n"), origin=origin)
