"""What all Lambda functions have: settings from environment variables, and clients that are patient."""

from __future__ import annotations

from typing import TypeVar

from botocore.config import Config
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from sam3edge.core.errors import SettingsError
from sam3edge.validation import complaints

PATIENT = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 4, "mode": "standard"})
"""Of boto3's clients."""

S = TypeVar("S", bound=BaseSettings)


def from_environment(kind: type[S]) -> S:
    """Read the settings.

    Raises:
        SettingsError: names every variable that is wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("; ".join(map(str, complaints(error)))) from error
