"""The configuration of the uploader component, as deployments write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sam3edge.greengrass.settings import Bytes, Count, Seconds, TopicSettings, validate_settings


class Settings(TopicSettings):
    """Without ``Bucket`` nothing is uploaded.

    ``Region`` defaults to the nucleus's, ``Folder`` to where the segmenter keeps its examples. ``Endpoint`` is the
    address of another service that speaks S3's language. ``BytesPerDay`` counts what is sent, repetitions included;
    ``BytesPerSecond: 0`` is no bound.
    """

    bucket: str = Field("", pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")
    prefix: str = Field("hard-examples", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=200)
    region: str = Field("", pattern=r"^[a-z0-9-]*$", max_length=32)
    endpoint: str = Field("", max_length=500, repr=False)
    folder: str = ""
    examples_per_hour: Count = 60
    bytes_per_day: Annotated[Bytes, Field(ge=8 << 20)] = 256 << 20
    bytes_per_second: Bytes = 0
    heartbeat_seconds: Seconds = Field(60.0, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration; raises SettingsError that names every key that is wrong."""
    return validate_settings(Settings, configuration)
