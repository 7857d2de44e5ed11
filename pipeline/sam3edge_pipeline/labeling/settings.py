"""What the labeling functions are told by environment variables."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import Self

from sam3edge_pipeline.labeling.ground_truth import GroundTruthSettings

BETWEEN_PHRASES = "|"
"""As in the parameters of the pipeline."""


class LabelingSettings(BaseSettings):
    """Every setting, under the name of its environment variable: ``SAM3EDGE_LABELING_`` and the name in capitals.

    Attributes:
        examples: bucket of what devices upload.
        examples_prefix: below which it is.
        learning: bucket of jobs, queues, label files and datasets.
        phrases: to be labeled, ``|`` between them.
        dataset: whose latest version says which images are labeled.
        max_examples: the newest uploads that are looked at; each is fetched once by an execution environment.
        reviewer: who is named where a label file names nobody.
        role, work_team, ui_template, pre_task, consolidation: of Ground Truth, all or none:
            see ``GroundTruthSettings``.
    """

    model_config = SettingsConfigDict(
        env_prefix="SAM3EDGE_LABELING_", extra="ignore", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    examples: str = Field(min_length=3)
    examples_prefix: str = Field("hard-examples", pattern=r"^[\w./-]+[\w.-]$")
    learning: str = Field(min_length=3)
    phrases: str = Field(min_length=1)
    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    max_examples: int = Field(5000, ge=1, le=100_000)
    reviewer: str = Field("labeler", min_length=1)
    role: str = ""
    work_team: str = ""
    ui_template: str = ""
    pre_task: str = ""
    consolidation: str = ""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        given = (self.role, self.work_team, self.ui_template, self.pre_task, self.consolidation)
        if any(given) and not all(given):
            raise ValueError("expected role, work_team, ui_template, pre_task and consolidation, or none of them")
        return self

    def phrase_list(self) -> tuple[str, ...]:
        """The phrases, each once."""
        return tuple(dict.fromkeys(one.strip() for one in self.phrases.split(BETWEEN_PHRASES) if one.strip()))

    def ground_truth(self) -> GroundTruthSettings | None:
        """Ground Truth's settings; None where nobody uses it."""
        if not self.work_team:
            return None
        return GroundTruthSettings(
            place=f"s3://{self.learning}/labeling/ground-truth",
            role=self.role,
            work_team=self.work_team,
            ui_template=self.ui_template,
            pre_task=self.pre_task,
            consolidation=self.consolidation,
        )
