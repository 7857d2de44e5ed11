"""The configuration of the model component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal

from sam3edge.core.errors import SettingsError

IGNORED = frozenset({"accessControl", "Install"})


class Settings(BaseModel):
    """``PublicKey`` is an Ed25519 key in PEM; with it, only bundles signed by its other half are activated."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True, extra="forbid", frozen=True)
    public_key: str = ""
    providers: list[str] = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    topic_prefix: str = Field("", pattern=r"^([^/#+$\s][^/#+\s]*(/[^/#+\s]+){0,5})?$", max_length=180)

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration; raises SettingsError that names every key that is wrong."""
    try:
        return Settings.model_validate({k: v for k, v in configuration.items() if k not in IGNORED})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise SettingsError("; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)) from error
