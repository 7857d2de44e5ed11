"""The page with a broker and a device that publishes, and its modules by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.browser import Browser
from support.live_messages import Sender
from support.live_page import LivePage, Stand, stand


@pytest.fixture
def device() -> Sender:
    return Sender()


@pytest.fixture
def place() -> Iterator[Stand]:
    """A broker, a page that may send commands and show pictures when somebody asks, and a publisher."""
    with stand(pictures=True) as one:
        yield one


@pytest.fixture
def page(place: Stand, browser: Browser) -> LivePage:
    return LivePage(browser, place.server.address)


@pytest.fixture
def modules(place: Stand, browser: Browser) -> Browser:
    """A document of the page's server that runs nothing by itself: for ``settled`` with ``import("/js/...")``."""
    browser.open(f"{place.server.address}js/limits.js")
    return browser
