"""What the retraining functions are told by environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RetrainingSettings(BaseSettings):
    """Every setting, under the name of its environment variable: ``SAM3EDGE_RETRAINING_`` and the name in capitals.

    Attributes:
        learning: bucket of the datasets.
        dataset: that is continued.
        backend: who labels, see ``labeling.workflow.BACKENDS``.
        machine_arn: state machine of the labeling workflow.
        pipeline: name of SageMaker's pipeline.
        phrases: that are learned, ``|`` between them, as the pipeline takes them.
        uploads_rule: of EventBridge, that matches each example; only for events with a ``minimum``.
    """

    model_config = SettingsConfigDict(
        env_prefix="SAM3EDGE_RETRAINING_", extra="ignore", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    learning: str = Field(min_length=3)
    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    backend: str = Field(min_length=1)
    machine_arn: str = Field(pattern=r"^arn:[^:]+:states:.+$")
    pipeline: str = Field(min_length=1)
    phrases: str = Field(min_length=1)
    uploads_rule: str = ""
