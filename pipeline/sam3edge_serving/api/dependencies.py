"""What the routes work with, put together once by a composition root."""

from __future__ import annotations

from dataclasses import dataclass

from sam3edge_serving.api.idempotency import IdempotencyStore
from sam3edge_serving.api.images import Images
from sam3edge_serving.api.model import Model
from sam3edge_serving.api.uploads.jobs import Jobs
from sam3edge_serving.api.uploads.offers import Uploads


@dataclass(frozen=True, slots=True)
class Large:
    """The way of large images."""

    uploads: Uploads
    jobs: Jobs


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts.

    Attributes:
        model_id: what ``model`` in requests must be.
        model_created: seconds since 1970.
        max_prompts: phrases asked of one image.
        large: None where the operator offers no uploads.
    """

    model: Model
    images: Images
    once: IdempotencyStore
    large: Large | None
    model_id: str
    model_created: int
    max_prompts: int
