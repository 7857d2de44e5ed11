"""A device that falls back to the cloud: for each reason, within its budget, and whatever the endpoint does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.cli.schemas import detections_schema
from sam3edge.core.types import EngineOutput, Frame, ModelInfo, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.hard_examples.example import EXAMPLE, FRAME
from sam3edge_simulator.profiles import LITE, Profile
from support.device_rig import PATIENCE, SEGMENTER, Rig
from support.stand_in import StandIn, another_schema, busy, no_json, outside

pytestmark = pytest.mark.long

GERMAN = {"Schild": "metal tag"}
SCENE = 2_000_007
"""Shows metal tags."""


class Bilingual:
    """The demo model with a wider vocabulary than the device's, as a cloud's model has."""

    def __init__(self, bundle: Path) -> None:
        options = OnnxOptions(("CPUExecutionProvider",), threads=1)
        self._engine = OnnxEngine(model_files(bundle, read_manifest(bundle)), options)

    @property
    def model(self) -> ModelInfo:
        return replace(self._engine.model, version="9.9.9")

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        given = {replace(p, text=GERMAN.get(p.text, p.text)): p for p in prompts}
        found = self._engine.segment(frame, tuple(given))
        instances = tuple(replace(i, prompt=given[i.prompt]) for i in found.instances)
        return replace(found, instances=instances, confidence={})

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def cloud(demo_bundle: Path) -> Iterator[StandIn]:
    engine = Bilingual(demo_bundle)
    one = StandIn(engine)
    yield one
    one.close()
    engine.close()


class Feeder:
    """Puts scenes into the watched folder and gives what is published about each."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.count = rig, 0

    def answer(self) -> dict[str, Any]:
        """What the device says about one more scene."""
        self.count += 1
        name = f"{self.count:03d}.png"
        self.rig.put_scene(name, SCENE)
        self.rig.wait(lambda: name in self.rig.consumer.names())
        [message] = [m for m in self.rig.consumer.on("detections") if m["frame"]["name"] == name]
        jsonschema.Draft202012Validator(detections_schema()).validate(message)
        return message

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first answer that is so: a configuration is taken over between two frames."""
        deadline = time.monotonic() + PATIENCE
        while not condition(message := self.answer()):
            assert time.monotonic() < deadline, message["origin"]
        return message

    def configure(self, **keys: Any) -> None:
        self.rig.nucleus.set_configuration(SEGMENTER, merge=keys)


def labels(message: dict[str, Any]) -> set[str]:
    return {feature["properties"]["label"] for feature in message["features"]}


def fallback(cloud: StandIn, **keys: Any) -> dict[str, Any]:
    return {"Endpoint": cloud.url, "ModelWaitSeconds": 0, "TimeoutSeconds": 30, **keys}


def by_cloud(reason: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["origin"].get("reason") == reason and message["origin"]["by"] == "cloud"


def test_for_each_reason_the_cloud_answers_and_the_message_says_so(rig: Rig, cloud: StandIn) -> None:
    feeder = Feeder(rig)
    rig.deploy_segmenter(Fallback=fallback(cloud, Reasons=["unavailable"]))
    stood_in = feeder.answer()
    assert by_cloud("unavailable")(stood_in)
    assert stood_in["model"]["version"] == "9.9.9"
    assert labels(stood_in) == {"metal tag"}
    rig.deploy_model()
    own = feeder.until(lambda message: message["origin"] == {"by": "device"})
    assert own["model"]["version"] == read_manifest(rig.bundle).version
    assert len(own["features"]) == len(stood_in["features"])
    for mine, theirs in zip(own["features"], stood_in["features"], strict=True):
        assert mine["properties"]["imageBBox"] == pytest.approx(theirs["properties"]["imageBBox"], abs=4)

    feeder.configure(Prompts=["hole", "Schild"], Fallback={"Reasons": ["unsupported"]})
    translated = feeder.until(by_cloud("unsupported"))
    assert "Schild" in labels(translated)
    assert translated["unsupported_prompts"] == {}

    feeder.configure(Prompts=["metal tag"], Fallback={"Reasons": ["degraded"]})
    feeder.until(by_cloud("degraded"))
    feeder.configure(Fallback={"Reasons": ["slow"], "MaxSeconds": 0.001, "RecheckSeconds": 3600})
    feeder.until(by_cloud("slow"))

    cloud.manner = cloud.lying(lambda document: document["features"].clear())  # so that the two disagree
    feeder.configure(
        Fallback={"Reasons": ["uncertain"], "UncertainScores": [0, 1], "MaxSeconds": 0},
        HardExamples={"Enabled": True, "Kinds": "disagreement"},
    )
    uncertain = feeder.until(by_cloud("uncertain"))
    assert uncertain["features"] == []
    examples = rig.root / "device" / "work" / SEGMENTER / "hard-examples"
    rig.wait(lambda: list(examples.glob(f"[0-9]*-*/{EXAMPLE}")))
    [first, *_] = sorted(examples.glob("[0-9]*-*"))
    assert (first / FRAME).stat().st_size > 1000
    document = json.loads((first / EXAMPLE).read_text())
    assert labels(document["device"]) == {"metal tag"}
    assert document["cloud"]["features"] == []
    assert f"only the device has {len(document['device']['features'])} objects" in document["reason"]["detail"]
    rig.wait(lambda: rig.consumer.status().get("hard_examples", {}).get("kept", 0) >= 1)
    assert rig.consumer.status()["fallback"]["breaker"] == "closed"
    assert rig.nucleus.component(SEGMENTER).errors == 0


def test_the_budget_holds_over_a_restart(rig: Rig, cloud: StandIn) -> None:
    feeder = Feeder(rig)
    rig.deploy_model()
    limits = {"RequestsPerHour": 1000, "RequestsPerDay": 3}
    rig.deploy_segmenter(Prompts=["Schild"], Fallback=fallback(cloud, Reasons=["unsupported"], **limits))
    for _ in range(2):
        assert feeder.answer()["origin"]["by"] == "cloud"
    rig.nucleus.restart(SEGMENTER)
    assert feeder.answer()["origin"]["by"] == "cloud"
    over = feeder.answer()
    assert over["origin"]["by"] == "device"
    assert "3 requests a day is spent" in over["origin"]["detail"]
    assert "Schild" in over["unsupported_prompts"]
    rig.wait(lambda: rig.consumer.status()["fallback"]["refused_by_budget"] == 1)
    assert rig.consumer.status()["fallback"]["in_day"] == 3
    assert len(cloud.asked) == 3


def test_it_keeps_publishing_whatever_the_endpoint_does(make_rig: Callable[[Profile], Rig], cloud: StandIn) -> None:
    rig = make_rig(LITE)
    feeder = Feeder(rig)
    rig.deploy_model()
    keys = fallback(
        cloud, Reasons=["uncertain"], UncertainScores=[0, 1], TimeoutSeconds=2, Failures=2, PauseSeconds=0.5
    )
    rig.deploy_segmenter(Fallback={**keys, "RequestsPerHour": 1000, "RequestsPerDay": 1000})
    good = len(feeder.answer()["features"])
    assert good > 0

    def answers_for_itself(why: str) -> None:
        message = feeder.until(lambda m: m["origin"]["by"] == "device" and why in m["origin"]["detail"])
        assert len(message["features"]) == good  # its own answer, whole

    for manner, why in (
        (cloud.slow, "no response within"),
        (no_json, "Invalid JSON"),
        (another_schema, "not a detections message"),
        (cloud.lying(outside), "outside the image"),
    ):
        cloud.manner = manner
        answers_for_itself(why)
    rig.wait(lambda: rig.consumer.status()["fallback"]["breaker"] != "closed")
    cloud.manner = busy
    answers_for_itself("too many requests in progress")
    before = len(cloud.asked)
    for _ in range(5):  # it was told to come back in half a minute, and does not ask before
        assert "asked again in" in feeder.answer()["origin"]["detail"]
    assert len(cloud.asked) == before
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        feeder.configure(Fallback={"Endpoint": f"http://127.0.0.1:{nobody.getsockname()[1]}"})
        answers_for_itself("cannot be reached")
    cloud.manner = cloud.honest
    feeder.configure(Fallback={"Endpoint": cloud.url})
    feeder.until(lambda message: message["origin"]["by"] == "cloud" or "not better" in message["origin"]["detail"])
    assert set(rig.consumer.names().values()) == {1}
    assert rig.consumer.on("errors") == []
    assert rig.nucleus.component(SEGMENTER).errors == 0


@pytest.fixture
def endpoint(closed_bundle: Path, tmp_path: Path) -> Iterator[str]:
    """Our endpoint's application in a process of its own; gives its address."""
    pytest.importorskip("fastapi")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "CHECKPOINT_PATH": str(closed_bundle), "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAM3EDGE_BIND_TO_HOST": "127.0.0.1", "SAM3EDGE_THREADS": "1",
    }  # fmt: skip
    with (tmp_path / "endpoint.log").open("wb") as logger:
        command = [sys.executable, "-m", "sam3edge_serving.endpoint"]
        process = subprocess.Popen(command, env=environment, stdout=logger, stderr=logger)
        url = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + PATIENCE
            while not _is_ready(url):
                assert process.poll() is None, (tmp_path / "endpoint.log").read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_our_own_endpoint_stands_in_for_a_model(rig: Rig, endpoint: str) -> None:
    rig.deploy_segmenter(
        Prompts=["metal tag", "unicorn"],
        Fallback={"Endpoint": endpoint, "ModelWaitSeconds": 0, "TimeoutSeconds": 30, "Reasons": ["unavailable"]},
    )
    message = Feeder(rig).answer()
    assert by_cloud("unavailable")(message)
    assert labels(message) == {"metal tag"}
    assert set(message["unsupported_prompts"]) == {"unicorn"}
    assert message["model"]["name"] == read_manifest(rig.bundle).name
