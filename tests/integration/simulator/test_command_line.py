"""The command line, as a person uses it: one process runs the device, others tell it what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sam3edge_simulator
from sam3edge_simulator.__main__ import app
from support.waiting import until

NAME = "com.example.Thing"
SOURCES = str(Path(sam3edge_simulator.__file__).parent.parent)


class Shell:
    """Gives commands to one device; they run in this process, the device in its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})

    def __call__(self, name: str, *arguments: str, fails: bool = False) -> str:
        """Output of a command; what it says on the error stream when it fails."""
        done = self._runner.invoke(app, [name, *arguments, "--root", str(self.root)])
        assert (done.exit_code != 0) is fails, done.output
        return done.stderr if fails else done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "device")
    with (tmp_path / "run.log").open("wb") as logger:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sam3edge_simulator", "run", "--root", str(shell.root)),
                *("--profile", "classic", "--thing-name", "station-7", "--env", "MODE=demo", "--start-period", "0.2"),
            ],
            env={**os.environ, "PYTHONPATH": SOURCES},
            stdout=logger,
            stderr=logger,
        )
        try:
            until(lambda: (shell.root / "control.path").exists() or process.poll() is not None)
            yield shell
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, (tmp_path / "run.log").read_text()


def test_a_day_with_a_device(shell: Shell, build, tmp_path: Path) -> None:
    run = "echo mode $MODE on $AWS_IOT_THING_NAME; exec sleep 600"
    for version in ("1.0.0", "2.0.0"):
        build.add(NAME, version, lifecycle={"run": run}, defaults={"rate": 1})
    folder = str(build.recipes.parent)

    assert "SUCCESSFUL" in shell("deploy", f"{NAME}=1.0.0", "--build", folder)
    table = shell("status")
    assert NAME in table
    assert "RUNNING" in table
    assert json.loads(shell("set-config", NAME, "--merge", '{"rate": 2, "x": [1]}')) == {"rate": 2, "x": [1]}
    assert json.loads(shell("set-config", NAME, "--reset", "/rate")) == {"rate": 1, "x": [1]}

    document = tmp_path / "deployment.json"
    document.write_text(json.dumps({"components": {NAME: {"componentVersion": "2.0.0"}}}))
    assert "2.0.0" in shell("deploy", "--document", str(document), "--build", folder)
    assert "1.0.0" in shell("rollback")
    shell("restart", NAME)
    assert "mode demo on station-7" in shell("logs", NAME, "-n", "50")

    assert "no version of com.example.Nothing" in shell("deploy", "com.example.Nothing=1.0.0", fails=True)
    assert "is not deployed" in shell("set-config", "com.example.Nothing", fails=True)
    assert "no log of" in shell("logs", "com.example.Nothing", fails=True)


def test_without_a_device_the_commands_say_how_to_start_one(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "nowhere")
    for command in ("status", "rollback"):
        assert "start one with 'run --root" in " ".join(shell(command, fails=True).split())
