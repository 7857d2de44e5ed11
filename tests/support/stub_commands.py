"""Commands that only write down how they were called, for scripts that would change the host."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_STUB = """#!/bin/bash
printf '%s' "${0##*/}" >>"$CALLS"
printf ' %s' "$@" >>"$CALLS"
printf '\\n' >>"$CALLS"
"""


@dataclass(frozen=True, slots=True)
class StubCommands:
    """A folder that stands first in the search path, and the log of what was called from it.

    Attributes:
        folder: of the stubs.
        log: what was called, a line a call.
    """

    folder: Path
    log: Path

    def add(self, name: str, then: str = "") -> None:
        """A command that is recorded and does nothing, or what ``then`` says in bash."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(f"{_STUB}{then}\n", encoding="utf-8")
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """What was called so far."""
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def run(self, script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script with the stubs before the host's own commands."""
        python = self.folder / "python3"
        if not python.exists():
            python.symlink_to(sys.executable)
        return subprocess.run(
            ["/bin/bash", str(script)],
            env={"PATH": f"{self.folder}{os.pathsep}/usr/bin{os.pathsep}/bin", "CALLS": str(self.log), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
