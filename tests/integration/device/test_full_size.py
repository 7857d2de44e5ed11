"""SAM 3 at its full size, with random weights: from ``sam3.pt`` to GeoJSON on a device. It takes a quarter of an hour.

python -m pytest -m slow tests/integration/device/test_full_size.py -s
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge.bundle.verify import verify
from sam3edge_export.checkpoint import published_config, tracker_config
from sam3edge_simulator.profiles import CLASSIC, Profile
from support.device_rig import Rig
from support.meta_layout import fill, meta_layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SCENES = Path(__file__).parents[3] / "assets" / "scenes"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sam3.pt`` in Meta's layout, 3.4 GB."""
    folder = tmp_path_factory.mktemp("full-size")
    config = published_config()
    with torch.device("meta"):
        entries = meta_layout(Sam3Model(config), Sam3TrackerModel(tracker_config(config)))
    torch.save(fill(entries), folder / "sam3.pt")
    (folder / "LICENSE").write_text("SAM License\n")
    (folder / "prompts.txt").write_text("metal tag\nship\n")
    return folder / "sam3.pt"


@pytest.fixture(params=["fp16", "fp32"])
def bundle(request: pytest.FixtureRequest, checkpoint: Path, tmp_path: Path, figure: Callable[[str], None]) -> Path:
    """What the command makes of it, in a process of its own, whose memory is measured."""
    out = tmp_path / "sam3-1.0.0"
    asked = ["--checkpoint", checkpoint, "--prompts", checkpoint.with_name("prompts.txt"), "--out", out, "--untrained"]
    options = ["--precision", request.param, "--images", SCENES, "--image-limit", "1"]
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "sam3edge_export.cli", *map(str, asked + options)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    manifest = verify(out, None)
    size = sum(entry.size for entry in manifest.files.values())
    assert manifest.parity is not None
    figure(
        f"full-size {request.param}: exported and compared in {time.monotonic() - started:.0f} s, peak "
        f"{usage.ru_maxrss / 1e6:.1f} GB, bundle {size / 1e9:.2f} GB, stages {manifest.parity['stages']}"
    )
    return out


def test_a_full_size_checkpoint_becomes_a_bundle_that_a_device_runs(
    bundle: Path, tmp_path: Path, make_rig: Callable[[Profile], Rig], figure: Callable[[str], None]
) -> None:
    rig = make_rig(CLASSIC)
    started = time.monotonic()
    rig.deploy_model(bundle)
    rig.wait(lambda: [e for e in rig.consumer.on("status/model") if e["message_type"] == "model_activated"], 1800)
    figure(f"packaged, deployed, verified and activated in {time.monotonic() - started:.0f} s")
    rig.deploy_segmenter(Prompts=["metal tag", "ship"], Threshold=0.0, MaxInstances=3, Threads=2)
    rig.put_scene("a.png", 2_000_007)
    rig.wait(lambda: rig.consumer.names()["a.png"] > 0, 900)
    [body] = rig.consumer.on("detections")
    assert body["model"]["name"] == "sam3"
    assert len(body["features"]) > 0
    figure(f"segmented: {body['timing']}")
