"""AWS Lambda's entry point of the API function: ``sam3edge_serving.api.handler.handler``."""

from __future__ import annotations

import functools
import os
from typing import Any

from sam3edge_serving.api.application import Application
from sam3edge_serving.api.settings import Settings, read_settings
from sam3edge_serving.api.wiring import assemble


@functools.cache
def _application() -> Application:
    """Built with the first request of an execution environment."""
    return Application(assemble(read_settings(Settings, os.environ)))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request."""
    return _application().handle(event, context)
