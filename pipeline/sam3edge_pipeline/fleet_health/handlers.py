"""AWS Lambda's entry point: ``sam3edge_pipeline.fleet_health.handlers.look``, every few minutes."""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sam3edge.validation import first_complaint
from sam3edge_pipeline.environment import PATIENT, from_environment
from sam3edge_pipeline.fleet_health.health import health_of, log_line
from sam3edge_pipeline.fleet_health.heartbeats import STATUS, Heartbeat, read_heartbeat
from sam3edge_pipeline.fleet_health.judged import JUDGED, Judged, read_judged

logger = logging.getLogger(__name__)


class FleetHealthSettings(BaseSettings):
    """Every setting, under the name of its environment variable: ``SAM3EDGE_FLEET_`` and the name in capitals.

    Attributes:
        stage: name of the stage, a dimension of the metrics.
        table: DynamoDB table of the last heartbeats.
        canary_group, fleet_group: names of the thing groups.
        silent_minutes: without a heartbeat, after which a device is silent.
    """

    model_config = SettingsConfigDict(
        env_prefix="SAM3EDGE_FLEET_", extra="ignore", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    stage: str = Field(min_length=1)
    table: str = Field(min_length=3)
    canary_group: str = Field(min_length=1)
    fleet_group: str = Field(min_length=1)
    silent_minutes: int = Field(ge=1)


def read_settings() -> FleetHealthSettings:
    """From the environment; raises SettingsError that names every variable that is wrong."""
    return from_environment(FleetHealthSettings)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The groups, and what is known of their devices.

    Attributes:
        iot: boto3's client.
        table: boto3's ``Table`` resource.
        clock: seconds since 1970.
        write: takes a line for the log.
    """

    settings: FleetHealthSettings
    iot: Any
    table: Any
    clock: Callable[[], float]
    write: Callable[[str], object]

    def look(self) -> dict[str, int]:
        """Write the metrics of each group; returns how many devices of each are silent."""
        now = self.clock()
        beats, judged = rows_in(self._items())
        silent: dict[str, int] = {}
        known: list[Judged] = []
        for group in (self.settings.canary_group, self.settings.fleet_group):
            health = health_of(self._members(group), beats, judged, now, self.settings.silent_minutes * 60)
            self.write(log_line(health, self.settings.stage, group, now) + "\n")
            silent[group] = len(health.silent)
            known += [Judged(one, beats[one].frames, beats[one].rejected) for one in health.rejected]
        with self.table.batch_writer() as batch:
            for one in known:
                batch.put_item(Item=one.item(now))
        return silent

    def _members(self, group: str) -> list[str]:
        pages = self.iot.get_paginator("list_things_in_thing_group").paginate(thingGroupName=group)
        return [thing for page in pages for thing in page["things"]]

    def _items(self) -> Iterable[Mapping[str, Any]]:
        pages = self.table.meta.client.get_paginator("scan").paginate(TableName=self.table.name)
        return (item for page in pages for item in page["Items"])


def rows_in(items: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Heartbeat], dict[str, Judged]]:
    """Heartbeats and what was judged, by device; what is not a heartbeat is logged and dropped, so that its device is
    silent."""
    beats: dict[str, Heartbeat] = {}
    judged: dict[str, Judged] = {}
    for item in items:
        if item["item"] == JUDGED:
            judged[item["device"]] = read_judged(item)
        elif item["item"] == STATUS:
            try:
                beats[item["device"]] = read_heartbeat(item)
            except ValidationError as error:
                logger.warning("heartbeat of %s: %s", item["device"], first_complaint(error))
    return beats, judged


@functools.cache
def _fleet() -> Fleet:
    settings = read_settings()
    table = boto3.resource("dynamodb", config=PATIENT).Table(settings.table)
    return Fleet(settings, boto3.client("iot", config=PATIENT), table, time.time, sys.stdout.write)


def look(event: Mapping[str, Any], context: Any) -> dict[str, int]:
    """EventBridge's target: see ``Fleet.look``."""
    return _fleet().look()
