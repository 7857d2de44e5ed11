"""How much is let in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from sam3edge_serving.endpoint.admission import Admission, ByteBudget, PixelBudget
from sam3edge_serving.http.errors import Busy


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_places_are_bounded_and_come_back() -> None:
    async def work() -> None:
        admission = Admission(2)
        with ExitStack() as inside:
            for _ in range(2):
                inside.enter_context(admission.enter("peer"))
            with pytest.raises(Busy) as refused, admission.enter("peer"):
                pass
            assert refused.value.status == 429
            assert 1 <= (refused.value.retry_after or 0) <= 30
        assert admission.inside == 0
        with admission.enter("peer"):
            assert admission.inside == 1

    run(work())


def test_a_place_comes_back_from_a_request_that_failed() -> None:
    async def work() -> None:
        admission = Admission(1)
        with pytest.raises(ZeroDivisionError), admission.enter("peer"):
            raise ZeroDivisionError
        assert admission.inside == 0

    run(work())


def test_a_peer_has_its_share_of_the_places() -> None:
    async def work() -> None:
        admission = Admission(4, peer_share=0.5)
        with ExitStack() as inside:
            for peer in ("one", "one", "other"):
                inside.enter_context(admission.enter(peer))
            with pytest.raises(Busy, match="of one address"):
                admission.require_room("one")
            inside.enter_context(admission.enter("other"))
            with pytest.raises(Busy, match=r"in progress \(4\)"):
                admission.require_room("third")
        assert admission.inside == 0
        admission.require_room("one")

    run(work())


def test_the_smallest_share_is_one_place() -> None:
    async def work() -> None:
        with Admission(2, peer_share=0.01).enter("peer"):
            pass

    run(work())


def test_bytes_are_bounded_and_come_back() -> None:
    budget = ByteBudget(10)
    with budget.hold() as take:
        take(6)
        with budget.hold() as take_more:
            take_more(4)
            with pytest.raises(Busy):
                take(1)
        assert budget.held == 6
    with suppress(ZeroDivisionError), budget.hold() as take:
        take(10)
        raise ZeroDivisionError
    assert budget.held == 0


def test_images_wait_for_room_in_their_order() -> None:
    async def work() -> None:
        budget, order = PixelBudget(10), []

        async def hold(name: str, pixels: int, until: asyncio.Event) -> None:
            async with budget.hold(pixels):
                order.append(name)
                await until.wait()

        first, others = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(hold("first", 8, first))]
        await asyncio.sleep(0)
        for name, pixels in (("large", 9), ("small", 1)):
            tasks.append(asyncio.create_task(hold(name, pixels, others)))
            await asyncio.sleep(0)
        assert order == ["first"]  # the small one would fit, and is not let past the large one
        first.set()
        others.set()
        await asyncio.gather(*tasks)
        assert order == ["first", "large", "small"]

    run(work())


def test_an_image_larger_than_the_budget_gets_it_alone() -> None:
    async def work() -> None:
        budget = PixelBudget(10)
        async with budget.hold(1000):
            waiting = asyncio.create_task(_hold(budget, 1))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting

    run(work())


@pytest.mark.parametrize("its_turn_has_come", [False, True])
def test_who_gives_up_takes_no_room(its_turn_has_come: bool) -> None:
    async def work() -> None:
        budget = PixelBudget(10)
        async with budget.hold(10):
            waiting = asyncio.create_task(_hold(budget, 10))
            await asyncio.sleep(0)
            if not its_turn_has_come:
                waiting.cancel()
                await asyncio.sleep(0)
        waiting.cancel()  # it was given its turn when the other left, and has not run since
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await _hold(budget, 10)

    run(work())


async def _hold(budget: PixelBudget, pixels: int) -> None:
    async with budget.hold(pixels):
        pass
