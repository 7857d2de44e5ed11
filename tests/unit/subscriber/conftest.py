"""What tests of subscribers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sam3edge_simulator.mqtt.broker import Broker


@pytest.fixture
def broker() -> Iterator[Broker]:
    """The simulator's, in this process."""
    with Broker() as one:
        yield one
