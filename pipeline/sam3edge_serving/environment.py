"""Settings from environment variables, as containers and Lambda functions get them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sam3edge.core.errors import SettingsError
from sam3edge.validation import complaints


class EnvironmentSettings(BaseSettings):
    """Settings whose aliases are the names of their variables. An empty variable counts as not set.

    Attributes:
        prefix: variables that begin so are ours; one that is not a setting is misspelt.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True, case_sensitive=True)
    prefix: ClassVar[str]


S = TypeVar("S", bound=EnvironmentSettings)


def read_settings(kind: type[S], overrides: Mapping[str, str] = MappingProxyType({})) -> S:
    """Read the settings.

    Args:
        overrides: go before the variables of the same name.

    Raises:
        SettingsError: names every variable that is wrong, and those that are misspelt.
    """
    given = {name: value for name, value in overrides.items() if value != ""}
    known = {field.alias for field in kind.model_fields.values()}
    ours = sorted(name for name in {*os.environ, *given} if name.startswith(kind.prefix))
    wrong = [f"{name} is not a setting; see the README for their names" for name in ours if name not in known]
    settings = None
    try:
        values: dict[str, Any] = {name: value for name, value in given.items() if name in known}
        settings = kind(**values)
    except ValidationError as error:
        wrong += map(str, complaints(error))
    if settings is None or wrong:
        raise SettingsError("; ".join(wrong))
    return settings
