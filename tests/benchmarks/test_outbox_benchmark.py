"""How many messages of 2 KB a second go through the outbox, durably, to a transport that costs nothing.

Meant to be run alone: ``pytest tests/benchmarks/test_outbox_benchmark.py --benchmark-only``. On a solid state drive at
least 1,000 a second are expected; what limits is one flush of the medium per frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sam3edge.core.types import Message
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox
from sam3edge.publishers.fake import FakePublisher

MESSAGES = 200
PAYLOAD = b"{" + b" " * 2046 + b"}"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


def frames(numbers: Iterator[int], per_frame: int) -> list[list[Message]]:
    return [
        [Message(f"frame-{next(numbers)}", "site/detections", PAYLOAD) for _ in range(per_frame)]
        for _ in range(MESSAGES // per_frame)
    ]


@pytest.mark.parametrize("per_frame", [1, 4])
def test_put_and_deliver(benchmark: BenchmarkFixture, outbox: Outbox, per_frame: int) -> None:
    def fail(error: Exception) -> None:
        raise error

    numbers = itertools.count()
    delivery = Delivery(outbox, FakePublisher(), on_lost=fail)
    delivery.start()

    def run(work: list[list[Message]]) -> None:
        for frame in work:
            outbox.put(frame)
        assert delivery.drain(60)

    benchmark.pedantic(run, setup=lambda: ((frames(numbers, per_frame),), {}), rounds=3)
    benchmark.extra_info["messages_per_second"] = MESSAGES / benchmark.stats.stats.mean if benchmark.stats else 0
    delivery.close()
    assert delivery.statistics().delivered >= MESSAGES


def test_put(benchmark: BenchmarkFixture, outbox: Outbox) -> None:
    numbers = itertools.count()

    def run(work: list[list[Message]]) -> None:
        for frame in work:
            outbox.put(frame)

    benchmark.pedantic(run, setup=lambda: ((frames(numbers, 1),), {}), rounds=3)
    assert outbox.queued >= MESSAGES
