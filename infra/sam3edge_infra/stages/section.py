"""What every part of a stage file is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a stage; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
