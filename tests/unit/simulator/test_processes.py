"""Steps as processes, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.waiting import until

STARTED = """
import sys, threading
from pathlib import Path
from sam3edge_simulator.component_log import ComponentLog
from sam3edge_simulator.processes import StepProcess
folder = Path(sys.argv[1])
script = "sleep 600 & echo $! > child.part && mv child.part child && wait"
StepProcess(script, {"PATH": "/usr/bin:/bin"}, folder, ComponentLog(folder / "logs", "com.example.Thing"), print)
threading.Event().wait()
"""


def lives(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_a_killed_simulator_has_started_ends(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    simulator = subprocess.Popen([sys.executable, "-c", STARTED, str(tmp_path)], env=environment)
    child = tmp_path / "child"
    try:
        until(child.exists, 60)
    finally:
        simulator.send_signal(signal.SIGKILL)
        simulator.wait()
    pid = int(child.read_text())
    try:
        until(lambda: not lives(pid), 60)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
