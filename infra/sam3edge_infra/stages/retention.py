"""How long a stage keeps what it gathers."""

from __future__ import annotations

from pydantic import Field

from sam3edge_infra.stages.section import Section


class Retention(Section):
    """Days after which files are deleted. What is not here is kept: datasets, checkpoints, bundles and components.

    Attributes:
        examples: what devices send back. Examples that were labeled are in a dataset by then.
        detections: files of the destination ``firehose``; None keeps them.
        logs: of requests to buckets.
    """

    examples: int = Field(180, ge=1, le=3650)
    detections: int | None = Field(None, ge=1, le=3650)
    logs: int = Field(180, ge=1, le=3650)
