"""SIGKILL at random moments: every message of every frame still arrives."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from support import killed_outbox

FRAMES = 400


def test_everything_arrives_although_the_process_is_killed_again_and_again(tmp_path: Path) -> None:
    randomness = random.Random(2611)
    script = Path(killed_outbox.__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    cloud = tmp_path / "cloud" / "t" / "detections"
    kills = 0
    while True:
        process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(FRAMES)], env=environment)
        arrived = len(list(cloud.glob("*"))) if cloud.exists() else 0
        try:
            if kills < 8:
                # Killed a random while after it has begun to deliver, so that a slow start is not a waste.
                wait_for_more(cloud, arrived, process)
                status = process.wait(randomness.uniform(0.0, 0.15))
            else:
                status = process.wait(90)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert status == 0
        break
    assert kills >= 5
    expected = {f"frame-{number}-{part}.json" for number in range(FRAMES) for part in "ab"}
    assert {path.name for path in cloud.iterdir()} == expected
    assert all(path.stat().st_size == 800 for path in cloud.iterdir())


def wait_for_more(folder: Path, before: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and (not folder.exists() or len(list(folder.iterdir())) <= before):
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
