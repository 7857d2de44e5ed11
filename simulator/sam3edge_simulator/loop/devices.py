"""Devices of the local run: what they are deployed, and what becomes of the frames they are given."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sam3edge_pipeline.greengrass_build.build import NAMES
from sam3edge_simulator.demo.receiver import Received, Receiver
from sam3edge_simulator.demo.run import feed
from sam3edge_simulator.deployment_document import Deployment
from sam3edge_simulator.loop.cloud import BUCKET, LocalCloud
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.states import State

START_SECONDS, FRAME_SECONDS, UPLOAD_SECONDS = 120.0, 90.0, 180.0
EXAMPLES = "hard-examples"

Configuration = dict[str, Any]


class DeviceFailed(Exception):
    """A device did not do in time what it was to do."""


class LaptopDevice:
    """A nucleus, a watched folder, and somebody who listens to what the device says.

    Args:
        root: a folder of its own.
        thing: its name.
    """

    def __init__(self, root: Path, thing: str, nucleus: Nucleus, broker: Broker) -> None:
        self.root = root
        self.thing = thing
        self._nucleus = nucleus
        self._watched = root / "watched"
        self._watched.mkdir(parents=True)
        self._receiver = Receiver(broker.url, thing, root / "geojson", lambda received: None)
        if not self._receiver.wait_subscribed(20):
            raise DeviceFailed("the broker did not confirm the subscription")

    def configuration(self, prompts: Sequence[Mapping[str, Any]]) -> dict[str, Configuration]:
        """Of the model and the segmenter, which watches this device's folder."""
        install = {"Install": {"Interpreter": sys.executable}}
        segmenter = {
            **install,
            "Prompts": [dict(one) for one in prompts],
            "Source": {"Type": "folder", "Path": str(self._watched.absolute()), "RescanSeconds": 1},
            "HeartbeatSeconds": 2,
        }
        return {NAMES["model"]: install, NAMES["segmenter"]: segmenter}

    def keeping_examples(
        self, configuration: Mapping[str, Configuration], which: Mapping[str, Any], cloud: LocalCloud
    ) -> dict[str, Configuration]:
        """The same, with hard examples kept and uploaded.

        Args:
            which: ``HardExamples`` of the segmenter.
            cloud: where the uploader sends them.
        """
        folder = str((self.root / EXAMPLES).absolute())
        segmenter = configuration[NAMES["segmenter"]]
        uploader = {
            "Install": segmenter["Install"],
            "Bucket": BUCKET,
            "Region": cloud.region,
            "Endpoint": cloud.endpoint,
            "Folder": folder,
            "ExamplesPerHour": 10_000,
            "HeartbeatSeconds": 2,
        }
        keeping = {**segmenter, "HardExamples": {"Enabled": True, "Folder": folder, **which}}
        return {**configuration, NAMES["segmenter"]: keeping, NAMES["uploader"]: uploader}

    def deploy(self, deployment: Deployment) -> None:
        """Carry a deployment out, and wait until the segmenter runs.

        Raises:
            DeploymentFailed: the nucleus refused it, or a component broke.
            DeviceFailed: the segmenter does not run.
        """
        self._nucleus.deploy(deployment)
        if not self._nucleus.wait(NAMES["segmenter"], State.RUNNING, START_SECONDS):
            raise DeviceFailed(f"the segmenter does not run; its log is in {self.root / 'device' / 'logs'}")

    def wait_for_model(self, digest: str) -> None:
        """Wait until the segmenter says that it runs this bundle."""
        _wait(
            lambda: self._receiver.model == digest,
            START_SECONDS,
            lambda: f"{self.thing} runs {self._receiver.model or 'no model'}, expected {digest}",
        )

    def look_at(self, images: Sequence[Path], name: str = "") -> dict[str, Received]:
        """Give it images of one folder, and wait for all of their messages; those by name, in order.

        Args:
            name: put before the name of every file, for images that were looked at before.
        """
        folder = images[0].parent
        if name:
            folder = self.root / "scenes" / name
            folder.mkdir(parents=True, exist_ok=True)
            images = [Path(shutil.copy(image, folder / f"{name}-{image.name}")) for image in images]
        feed(images, folder, self._watched)
        wanted = [image.name for image in images]
        seen, deadline = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            frames = self._receiver.frames()
            there = [one for one in wanted if one in frames and frames[one].complete]
            if len(there) == len(wanted):
                return {one: frames[one] for one in wanted}
            if len(there) > seen:
                seen, deadline = len(there), time.monotonic() + FRAME_SECONDS
            time.sleep(0.2)
        raise DeviceFailed(f"{seen} of {len(wanted)} frames were answered")

    def wait_uploaded(self) -> None:
        """Wait until every example that was kept has left for the bucket."""
        kept = self.root / EXAMPLES
        _wait(
            lambda: not any(kept.glob("[0-9]*-*")),
            UPLOAD_SECONDS,
            lambda: f"examples are still in {kept}; the uploader's log is in {self.root / 'device/logs'}",
        )

    def close(self) -> None:
        """Stop listening."""
        self._receiver.close()


def _wait(done: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise DeviceFailed(otherwise())
        time.sleep(0.2)


@contextmanager
def laptop_device(root: Path, thing: str, cloud: LocalCloud) -> Iterator[LaptopDevice]:
    """A device with a broker of its own; what an earlier run left in ``root`` is replaced."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with (
        Broker() as broker,
        Nucleus(root / "device", broker_url=broker.url, thing_name=thing, credentials_url=cloud.credentials) as nucleus,
    ):
        device = LaptopDevice(root, thing, nucleus, broker)
        try:
            yield device
        finally:
            device.close()
