"""The demonstration itself, on both nuclei, with a few of the sample scenes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("profile", ["classic", "lite"])
def test_every_frame_arrives(tmp_path: Path, profile: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for scene in sorted((ROOT / "assets" / "scenes").glob("*.jpg"))[:4]:
        shutil.copy(scene, images)
    command = [sys.executable, "-m", "sam3edge_simulator.demo", "--images", str(images), "--prompts", ""]
    command += ["--profile", profile, "--bundle", str(ROOT / "assets" / "demo-bundle"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "4 of 4 frames answered" in done.stdout
    written = [json.loads(path.read_text()) for path in (tmp_path / "out" / "geojson").rglob("*.geojson")]
    assert len({body["frame"]["name"] for body in written}) == 4
    assert sum(len(body["features"]) for body in written) > 4
    assert len([path for path in (tmp_path / "out" / "overlays").rglob("*") if path.is_file()]) == 4
    assert "live page http://127.0.0.1:" in done.stdout
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<figure>") == page.count("<image ") == 4
    assert page.count('class="outline"') == sum(len(body["features"]) for body in written)
