"""More clients than the endpoint can serve: it serves what it takes as fast as ever, and sends the others away."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import endpoint_clients
from support.endpoint_server import launch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS, SECONDS = 64, 20
COMPARED_SECONDS = 10
ASSETS = Path(__file__).parents[3] / "assets"


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw and what the endpoint counted.

    Attributes:
        seconds: of each request that was answered with 200.
        statuses: requests by their status, or by what went wrong.
        counted: requests that the endpoint says it answered with 200.
        images_a_question: images that the model looked at for each question; 1 when none was shared.
    """

    seconds: list[float]
    statuses: dict[str, int]
    counted: int
    images_a_question: float


def run(bundle: Path, images: int, phrases: int, seconds: int, **variables: str) -> Load:
    """64 clients in a second process against a new endpoint."""
    server = launch(bundle, SAM3EDGE_THREADS="1", CONFIDENCE_THRESHOLD="0.5", **variables)
    try:
        server.wait_until_ready()
        command = [sys.executable, endpoint_clients.__file__, server.url]
        command += [str(v) for v in (CLIENTS, seconds, images, phrases, ASSETS / "scenes")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 120)
        lines = server.get("/metrics").data.decode().splitlines()
        metrics = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        seen = json.loads(done.stdout)
        return Load(
            seen["answered"],
            seen["statuses"],
            int(float(metrics['sam3edge_requests_total{format="image",status="200"}'])),
            float(metrics["sam3edge_batch_images_sum"]) / float(metrics["sam3edge_batch_requests_sum"]),
        )
    finally:
        assert server.stop() == 0


def test_saturated(demo_bundle: Path, figure: Callable[[str], None]) -> None:
    load = run(demo_bundle, images=CLIENTS, phrases=10, seconds=SECONDS)
    assert set(load.statuses) <= {"200", "429", "503"}
    assert load.statuses["429"] > 0  # else it was not saturated
    assert load.counted == load.statuses["200"] == len(load.seconds)  # none that was taken is lost
    median, p99 = statistics.median(load.seconds), statistics.quantiles(load.seconds, n=100)[98]
    figure(
        f"endpoint, {CLIENTS} clients with an image each for {SECONDS} s: {load.statuses}, "
        f"{len(load.seconds) / SECONDS:.0f} answers/s, median {median * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    )
    assert p99 <= 3 * median


def compare(model: Path, images: int, phrases: int, what: str, figure: Callable[[str], None]) -> tuple[float, Load]:
    """How many times the answers a second micro-batching gives, and what was seen with it."""
    alone = run(model, images, phrases, COMPARED_SECONDS, SAM3EDGE_MAX_BATCH="1")
    together = run(model, images, phrases, COMPARED_SECONDS)
    gain = len(together.seconds) / len(alone.seconds)
    figure(
        f"endpoint, {CLIENTS} clients, {model.name}, {what}: one by one {len(alone.seconds) / COMPARED_SECONDS:.0f} "
        f"answers/s, micro-batched {len(together.seconds) / COMPARED_SECONDS:.0f} ({gain:.2f} times, "
        f"{together.images_a_question:.2f} images a question)"
    )
    assert together.counted == len(together.seconds)
    return gain, together


@pytest.mark.parametrize(("phrases", "what"), [(10, "4 images, any of 10 phrases"), (1, "4 images, the same phrase")])
def test_questions_about_the_same_images_share_looks(
    demo_bundle: Path, figure: Callable[[str], None], phrases: int, what: str
) -> None:
    gain, together = compare(demo_bundle, 4, phrases, what, figure)
    assert gain >= 2
    assert together.images_a_question < 0.6


def test_different_images_share_nothing_of_a_bundle(demo_bundle: Path, figure: Callable[[str], None]) -> None:
    gain, _ = compare(demo_bundle, CLIENTS, 10, "an image each", figure)
    assert gain > 0.7  # it must not cost either, beyond the noise
