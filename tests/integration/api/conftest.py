"""An endpoint with the demo bundle, and an image that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sam3edge.bundle.verify import model_files, verify
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from support.api_standin import StandIn, serve

SCENE = Path(__file__).parents[3] / "assets" / "scenes" / "scene-01.jpg"


@pytest.fixture(scope="module")
def engine(closed_bundle: Path) -> Iterator[OnnxEngine]:
    """The demo bundle on the CPU, without text encoder."""
    options = OnnxOptions(providers=("CPUExecutionProvider",))
    engine = OnnxEngine(model_files(closed_bundle, verify(closed_bundle, None)), options)
    yield engine
    engine.close()


@pytest.fixture
def standin(engine: OnnxEngine) -> Iterator[StandIn]:
    """The endpoint."""
    with serve(engine) as running:
        yield running
