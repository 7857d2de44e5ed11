"""The templates, which take long to synthesise."""

from __future__ import annotations

import shutil

import pytest

from support.infra_templates import Templates, synthesise
from support.made_once import made_once


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the templates synthesises every stage, and the others wait for it."""
    for item in items:
        if "templates" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Those of every example stage; not to be changed."""
    if shutil.which("node") is None:
        pytest.skip("the CDK needs Node.js")
    return Templates(made_once(tmp_path_factory, "templates", synthesise))
