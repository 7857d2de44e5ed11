"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

from typing import Any

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import Reply, json_reply
from sam3edge_serving.http.errors import NotFound


def list_models(parts: Parts) -> Reply:
    """The one model that there is."""
    return json_reply({"object": "list", "data": [_model(parts)]})


def one_model(parts: Parts, model_id: str) -> Reply:
    """That model."""
    must_be_known(parts, model_id)
    return json_reply(_model(parts))


def must_be_known(parts: Parts, model_id: str) -> None:
    """Raises NotFound for any other model."""
    if model_id != parts.model_id:
        raise NotFound(
            f"the model {model_id[:128]!r} does not exist here, {parts.model_id!r} does",
            param="model",
            code="model_not_found",
        )


def _model(parts: Parts) -> dict[str, Any]:
    return {"id": parts.model_id, "object": "model", "created": parts.model_created, "owned_by": "sam3edge"}
