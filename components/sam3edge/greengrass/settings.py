"""What the configurations of our components have in common, and how one is read.

Keys are written as Greengrass components write them (``PascalCase``). Numbers may come as strings, because nucleus lite
hands YAML scalars of local deployments over as strings. A key that is not known is refused: it is a typing error or
belongs to another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal
from pydantic_core import ErrorDetails

from sam3edge.core.errors import SettingsError

NOT_OURS = frozenset({"accessControl", "Install"})
"""Keys that are the nucleus's or the install step's."""

_SECRET = "Uri"
"""Keys that may hold a password; their values are in no message."""


class SettingsModel(BaseModel):
    """A mapping of the configuration, with exactly these keys."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True, extra="forbid", frozen=True)


class ComponentSettings(SettingsModel):
    """Keys of every component.

    ``Providers`` is a list of ONNX Runtime's names, or one string with commas. ``TopicPrefix`` defaults to
    ``sam3edge/<thing name>``; a change needs the same change in ``accessControl``.
    """

    providers: list[str] = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    topic_prefix: str = Field("", pattern=r"^([^/#+$\s][^/#+\s]*(/[^/#+\s]+){0,5})?$", max_length=180)

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


AnySettings = TypeVar("AnySettings", bound=SettingsModel)


def validate_settings(keys: type[AnySettings], configuration: Mapping[str, Any]) -> AnySettings:
    """Validate a component configuration.

    Raises:
        SettingsError: names every key that is wrong, what was expected and, unless it may be secret, what came.
    """
    ours = {key: value for key, value in configuration.items() if key not in NOT_OURS}
    try:
        return keys.model_validate(ours)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise SettingsError("; ".join(_describe(problem) for problem in problems)) from error


def _describe(problem: ErrorDetails) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "configuration"
    # the value of an unknown key says nothing, and may be an address under a misspelt name
    hidden = _SECRET in where or problem["type"] == "extra_forbidden" or isinstance(problem["input"], dict | list)
    return f"{where}: {problem['msg']}" + ("" if hidden else f", came {problem['input']!r}")
