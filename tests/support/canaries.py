"""What a canary says, made up: windows of cameras, and messages as devices write them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import shapely

from sam3edge.core.messages.detections import FrameResult, encode
from sam3edge.core.types import Detection, Frame, ModelInfo, Prompt
from sam3edge_pipeline.rollout.windows import COUNT_BINS, SCORE_BINS, Tally, Window

OLD = "sha256:" + "0" * 64
NEW = "sha256:" + "1" * 64
PROMPTS = ("scratch", "dent")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a camera sees, and how well a model sees it.

    Attributes:
        present: probability that an object of a prompt is in a frame.
        finds: probability that the model finds it.
        wander: how much ``present`` differs between blocks of time, as a standard deviation.
        errors: probability that a frame fails.
        latency_ms: of a frame, the median.
        score: mean of scores.
    """

    present: float = 0.5
    finds: float = 1.0
    wander: float = 0.0
    errors: float = 0.0
    latency_ms: float = 80.0
    score: float = 0.8


def windows(
    rng: np.random.Generator,
    scene: Scene,
    *,
    digest: str = OLD,
    cameras: int = 2,
    blocks: int = 20,
    frames: int = 30,
    thing: str = "line-7",
) -> list[Window]:
    """Windows of one device's cameras."""
    made = []
    for camera in range(cameras):
        for block in range(blocks):
            tallies = {f"{prompt} @0.5": _tally(rng, scene, frames) for prompt in PROMPTS}
            logarithms = rng.normal(np.log(scene.latency_ms), 0.2, frames)
            latency = (frames, float(logarithms.sum()), float((logarithms**2).sum()))
            errors = int(rng.binomial(frames, scene.errors))
            made.append(Window(thing, f"camera-{camera}", digest, block * 600, frames, errors, latency, tallies))
    return made


def _tally(rng: np.random.Generator, scene: Scene, frames: int) -> Tally:
    share = float(np.clip(scene.present + rng.normal(0, scene.wander), 0.01, 0.99)) if scene.wander else scene.present
    objects = np.where(rng.random(frames) < share, 1 + rng.poisson(0.5, frames), 0)
    found = rng.binomial(objects, scene.finds)
    counts = np.bincount(np.minimum(found, COUNT_BINS - 1), minlength=COUNT_BINS)
    values = np.clip(rng.normal(scene.score, 0.1, int(found.sum())), 0, 0.999)
    scores = np.bincount((values * SCORE_BINS).astype(int), minlength=SCORE_BINS)
    return Tally(
        frames,
        int((found > 0).sum()),
        tuple(map(int, counts)),
        tuple(map(int, scores)),
        float(values.sum()),
    )


def detections_messages(
    at: datetime,
    number: int,
    found: Sequence[str],
    *,
    digest: str = OLD,
    thing: str = "line-7",
    camera: str = "camera-0",
    max_bytes: int = 131_072,
    prompts: Sequence[str] = PROMPTS,
) -> list[dict[str, Any]]:
    """A frame's messages, written by the device's own code but for the time."""
    square = shapely.box(10, 10, 60, 60)
    asked = {text: Prompt(text) for text in prompts}
    image = np.zeros((120, 160, 3), np.uint8)
    frame = Frame(f"{digest[-4:]}-{camera}-{number}", camera, f"{number}", image, at, "sha256:" + "ab" * 32)
    model = ModelInfo("demo", "1.0.0", digest, "fp32", "CPUExecutionProvider")
    seen = tuple(Detection(asked[text], 0.8, square.bounds, square.area, square) for text in found)
    result = FrameResult(thing, frame, model, tuple(asked.values()), seen, {"vision": 60.0, "decoder": 20.0}, {})
    bodies = [json.loads(message.payload) for message in encode(result, "t", max_bytes, 4.0)]
    return [{**body, "time": at.astimezone(timezone.utc).isoformat(timespec="milliseconds")} for body in bodies]


def as_record(body: dict[str, Any] | str, identity: str = "", delay_s: float = 0.0) -> dict[str, Any]:
    """A message as SQS gives it to a function.

    Args:
        body: the message; as text where it need not be one, and then it was received now.
        delay_s: between what it says itself of its time and its reception.
    """
    at = time.time() if isinstance(body, str) else datetime.fromisoformat(body["time"]).timestamp()
    return {
        "messageId": identity,
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"SentTimestamp": str(round((at + delay_s) * 1000))},
    }


def canary_messages(
    start: datetime, frames: int, every_s: float, finds: float, digest: str, seed: int = 7, thing: str = "line-7"
) -> Iterator[dict[str, Any]]:
    """Frames of one camera in which each prompt is present half of the time and is found with probability ``finds``."""
    chance = random.Random(seed)
    for number in range(frames):
        found = [text for text in PROMPTS if chance.random() < 0.5 and chance.random() < finds]
        at = datetime.fromtimestamp(start.timestamp() + number * every_s, timezone.utc)
        yield from detections_messages(at, number, found, digest=digest, thing=thing)
