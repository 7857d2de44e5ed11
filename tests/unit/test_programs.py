"""The components' programs, started without a nucleus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "segmenter": (
        *("--store", "store", "--max-payload", "7000"),
        *("--in-flight", "5", "--in-flight-bytes", "14000", "--replay", "20"),
    ),
    "model": ("--store", "store", "--artifacts", "."),
    "uploader": ("--examples", "examples"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_thing_name_is_refused_before_anything_is_published(name: str, tmp_path: Path) -> None:
    """Without it the topics would be ``sam3edge//...``."""
    environment = {key: value for key, value in os.environ.items() if key != "AWS_IOT_THING_NAME"}
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-m", f"sam3edge.{name}", "--work", str(tmp_path / "work"), *PROGRAMS[name]]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 5
    assert "AWS_IOT_THING_NAME is not set" in ended.stderr
    assert not (tmp_path / "work").exists()
