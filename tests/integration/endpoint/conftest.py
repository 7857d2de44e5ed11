"""An endpoint with the demo bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.endpoint_server import Server, launch

MAX_BODY, MAX_PIXELS = 2_000_000, 1_000_000


@pytest.fixture(scope="session")
def server(demo_bundle: Path) -> Iterator[Server]:
    """Small limits, so that they can be reached; otherwise as it comes."""
    started = launch(
        demo_bundle,
        DEFAULT_TEXT_PROMPT="car|building|tree",
        CONFIDENCE_THRESHOLD="0.4",
        SAM3EDGE_MAX_BODY_BYTES=str(MAX_BODY),
        SAM3EDGE_MAX_PIXELS=str(MAX_PIXELS),
        SAM3EDGE_MAX_PROMPTS="12",
        SAM3EDGE_MAX_IMAGES="6",
        SAM3EDGE_BODY_SECONDS="3",
        SAM3EDGE_THREADS="1",
    )
    try:
        started.wait_until_ready()
        yield started
    finally:
        assert started.stop() == 0


@pytest.fixture(scope="session")
def closed_server(closed_bundle: Path) -> Iterator[Server]:
    """A bundle that knows certain phrases only."""
    started = launch(closed_bundle, CONFIDENCE_THRESHOLD="0.4", SAM3EDGE_THREADS="1")
    try:
        started.wait_until_ready()
        yield started
    finally:
        assert started.stop() == 0


@pytest.fixture(scope="session")
def scene() -> bytes:
    """A sample image, JPEG."""
    return (Path(__file__).parents[3] / "assets" / "scenes" / "scene-05.jpg").read_bytes()
