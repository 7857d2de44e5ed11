"""The templates, which take long to synthesise."""

from __future__ import annotations

import shutil

import pytest

from support.infra_templates import Templates, synthesise
from support.made_once import made_once


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Those of every example stage; not to be changed."""
    if shutil.which("node") is None:
        pytest.skip("the CDK needs Node.js")
    return Templates(made_once(tmp_path_factory, "templates", synthesise))
