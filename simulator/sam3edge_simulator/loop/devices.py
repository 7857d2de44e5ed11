"""Devices of the local run: what they are told to look for, and what becomes of the frames they are given."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge_pipeline.greengrass_build.build import NAMES, build_component
from sam3edge_simulator.demo.receiver import Received, Receiver
from sam3edge_simulator.demo.run import feed
from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment
from sam3edge_simulator.loop.cloud import BUCKET, REGION, LocalCloud
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.states import State

START_SECONDS, FRAME_SECONDS, UPLOAD_SECONDS = 120.0, 90.0, 180.0
EXAMPLES = "hard-examples"


class DeviceFailed(Exception):
    """A device did not do in time what it was to do."""


class LaptopDevice:
    """A nucleus with the model and the segmenter, and with the uploader where there are examples to keep.

    Args:
        root: a folder of its own.
        thing: its name.
        prompts: as the segmenter's configuration has them.
    """

    def __init__(
        self, root: Path, thing: str, prompts: Sequence[Mapping[str, Any]], nucleus: Nucleus, broker: Broker
    ) -> None:
        self.root = root
        self._prompts = prompts
        self._nucleus = nucleus
        self._watched = root / "watched"
        self._watched.mkdir(parents=True)
        self._build = root / "greengrass-build"
        self._receiver = Receiver(broker.url, thing, root / "geojson", lambda received: None)
        if not self._receiver.wait_subscribed(20):
            raise DeviceFailed("the broker did not confirm the subscription")

    def deploy(self, bundle: Path, examples: Mapping[str, Any] | None = None, cloud: LocalCloud | None = None) -> None:
        """Deploy a bundle and the segmenter, and wait until it runs.

        Args:
            examples: ``HardExamples`` of the segmenter; None for none, and no uploader.
            cloud: where the uploader sends them.
        """
        install = {"Install": {"Interpreter": sys.executable}}
        kept = str((self.root / EXAMPLES).absolute())
        segmenter: dict[str, Any] = {
            **install,
            "Prompts": [dict(one) for one in self._prompts],
            "Source": {"Type": "folder", "Path": str(self._watched.absolute()), "RescanSeconds": 1},
            "HeartbeatSeconds": 1,
        }
        add = {NAMES["model"]: read_manifest(bundle).version, NAMES["segmenter"]: sam3edge.__version__}
        merge: dict[str, dict[str, Any]] = {NAMES["model"]: install}
        if examples is not None and cloud is not None:
            segmenter["HardExamples"] = {"Enabled": True, "Folder": kept, **examples}
            add[NAMES["uploader"]] = sam3edge.__version__
            merge[NAMES["uploader"]] = {
                **install,
                "Bucket": BUCKET,
                "Region": REGION,
                "Endpoint": cloud.endpoint,
                "Folder": kept,
                "ExamplesPerHour": 10_000,
                "HeartbeatSeconds": 1,
            }
            build_component("uploader", self._build, sam3edge.__version__, "BUCKET_NAME")
        merge[NAMES["segmenter"]] = segmenter
        build_component("model", self._build, read_manifest(bundle).version, "BUCKET_NAME", bundle)
        build_component("segmenter", self._build, sam3edge.__version__, "BUCKET_NAME")
        self._nucleus.deploy(
            Deployment(
                add=add,
                configuration={name: ConfigurationUpdate(merge=keys) for name, keys in merge.items()},
                recipes=self._build / "recipes",
                artifacts=self._build / "artifacts",
            )
        )
        if not self._nucleus.wait(NAMES["segmenter"], State.RUNNING, START_SECONDS):
            raise DeviceFailed(f"the segmenter does not run; its log is in {self.root / 'device' / 'logs'}")

    def look_at(self, images: Sequence[Path]) -> dict[str, Received]:
        """Give it images of one folder, and wait for all of their messages; those by name."""
        feed(images, images[0].parent, self._watched)
        wanted = {image.name for image in images}
        seen, deadline = 0, time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            frames = self._receiver.frames()
            there = {name for name in wanted if name in frames and frames[name].complete}
            if there == wanted:
                return {name: frames[name] for name in wanted}
            if len(there) > seen:
                seen, deadline = len(there), time.monotonic() + FRAME_SECONDS
            time.sleep(0.2)
        raise DeviceFailed(f"{seen} of {len(wanted)} frames were answered")

    def wait_uploaded(self) -> None:
        """Wait until every example that was kept has left for the bucket."""
        kept = self.root / EXAMPLES
        deadline = time.monotonic() + UPLOAD_SECONDS
        while any(kept.glob("[0-9]*-*")):
            if time.monotonic() > deadline:
                raise DeviceFailed(
                    f"examples are still in {kept}; the uploader's log is in {self.root / 'device/logs'}"
                )
            time.sleep(0.2)

    def close(self) -> None:
        """Stop listening."""
        self._receiver.close()


@contextmanager
def laptop_device(
    root: Path, thing: str, prompts: Sequence[Mapping[str, Any]], cloud: LocalCloud
) -> Iterator[LaptopDevice]:
    """A device with a broker of its own; what an earlier run left in ``root`` is replaced."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with (
        Broker() as broker,
        Nucleus(root / "device", broker_url=broker.url, thing_name=thing, credentials_url=cloud.credentials) as nucleus,
    ):
        device = LaptopDevice(root, thing, prompts, nucleus, broker)
        try:
            yield device
        finally:
            device.close()
