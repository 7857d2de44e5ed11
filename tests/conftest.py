"""What every kind of test may use."""

from __future__ import annotations

import os

# Several tests run at once: threads of each would wait for each other. Before anything that reads it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from _pytest.terminal import TerminalReporter
from selenium.webdriver import Chrome

from support.browser import Browser, empty_window, launched, missing
from support.closed_bundle import without_text_encoder

# the same examples in every run, so that a red run can be run again; HYPOTHESIS_PROFILE=search looks for new ones
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

FIGURE = "figure"

MAX_ID = 80

DEMO_BUNDLE = Path(__file__).parents[1] / "assets" / "demo-bundle"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: the others fill the time that it takes."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long texts go by their argument's name: they fill screens, and what is made anew in each process of a run, as
    keys and times are, would give tests other names in each."""
    return argname if isinstance(val, str | bytes) and len(val) > MAX_ID else None


@pytest.fixture(scope="session")
def demo_bundle() -> Path:
    """The committed demo bundle; not to be changed."""
    return DEMO_BUNDLE


@pytest.fixture(scope="session")
def closed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle without its text encoder, as devices usually have them; not to be changed."""
    return without_text_encoder(DEMO_BUNDLE, tmp_path_factory.mktemp("closed") / "bundle")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the demo bundle."""
    return shutil.copytree(DEMO_BUNDLE, tmp_path / "bundle")


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says a measured figure in the summary of the run, from whatever process the test runs in."""
    return lambda text: request.node.user_properties.append((FIGURE, text))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """The browser of this process; see ``browser``."""
    if reason := missing():
        pytest.skip(reason)
    with launched() as driver:
        yield driver


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Browser]:
    """An empty window; see ``support.browser``."""
    with empty_window(chromium) as window:
        yield window


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what tests measured."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call"]
    figures = [text for report in reports for name, text in report.user_properties if name == FIGURE]
    if figures:
        terminalreporter.section("figures")
        for text in figures:
            terminalreporter.write_line(text)
