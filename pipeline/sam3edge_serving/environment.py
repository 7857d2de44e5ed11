"""Settings from environment variables, as containers and Lambda functions get them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sam3edge.core.errors import SettingsError
from sam3edge.validation import complaints

logger = logging.getLogger(__name__)


class EnvironmentSettings(BaseSettings):
    """Settings whose aliases are the names of their variables. An empty variable counts as not set.

    Attributes:
        prefix: of one that begins so and is not a setting a warning tells: it may be misspelt.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True, case_sensitive=True)
    prefix: ClassVar[str]


S = TypeVar("S", bound=EnvironmentSettings)


def read_settings(kind: type[S], overrides: Mapping[str, str] = MappingProxyType({})) -> S:
    """Read the settings.

    Args:
        overrides: go before the variables of the same name.

    Raises:
        SettingsError: names every variable that is wrong.
    """
    given = {name: value for name, value in overrides.items() if value != ""}
    known = {field.alias for field in kind.model_fields.values()}
    for name in sorted(name for name in {*os.environ, *given} if name.startswith(kind.prefix) and name not in known):
        logger.warning("%s is not a setting of this program and is ignored; see the README for their names", name)
    values: dict[str, Any] = {name: value for name, value in given.items() if name in known}
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(map(str, complaints(error)))) from error
