"""AWS Lambda's entry point of the API function: ``sam3edge_serving.api.handler.handler``."""

from __future__ import annotations

import functools
from typing import Any

from sam3edge_serving.api.application import Application
from sam3edge_serving.api.settings import Settings
from sam3edge_serving.api.wiring import assemble
from sam3edge_serving.environment import read_settings


@functools.cache
def _application() -> Application:
    """Built with the first request of an execution environment."""
    return Application(assemble(read_settings(Settings)))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request."""
    return _application().handle(event, context)
