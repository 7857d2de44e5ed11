"""The estimate: items of a stage, each a quantity times a price."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sam3edge.core.errors import SettingsError
from sam3edge_infra.stages.stage import (
    AsyncEndpoint,
    InstanceEndpoint,
    Network,
    NewNetwork,
    ServerlessEndpoint,
    Stage,
)

FOLDER = Path(__file__).parent
DAYS = 365 / 12
MILLION = 1_000_000

INTERFACE_ENDPOINTS = 1
"""Of a network without a NAT gateway, ``stacks.network.SERVICES``; said again so that the CDK need not be loaded."""


@dataclass(frozen=True, slots=True)
class Price:
    """A list price.

    Attributes:
        usd: without tax.
        per: its unit.
        seen: where it was read; None where it was recalled and is to be checked.
    """

    usd: float
    per: str
    seen: str | None


@dataclass(frozen=True, slots=True)
class Item:
    """A part of the bill.

    Attributes:
        group: what it is for.
        price: its name in ``prices.json``.
        quantity: a month, in the unit of the price.
    """

    group: str
    price: str
    quantity: float


GROUPS = (
    "endpoint",
    "network",
    "devices",
    "training",
    "storage",
    "API",
    "monitoring",
    "simulator",
    "live page",
    "delivery",
)


def read_prices(path: Path = FOLDER / "prices.json") -> dict[str, Price]:
    """By name."""
    return {name: Price(**one) for name, one in json.loads(path.read_text())["prices"].items()}


def read_usage(path: Path = FOLDER / "usage.json") -> dict[str, float]:
    """What is assumed of a month, by name."""
    return {name: float(one["value"]) for name, one in json.loads(path.read_text()).items()}


def items_of(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    """Everything that a stage is billed for, but for what is below a cent or so."""
    return [
        *_endpoint(stage, usage),
        *network_items(stage.network, usage),
        *_devices(stage, usage),
        *_training(stage, usage),
        Item("storage", "S3 standard", usage["other_gb"] + _examples_gb(usage) * stage.retention.examples),
        Item("storage", "ECR", usage["image_gb"]),
        *_api(stage, usage),
        Item("monitoring", "CloudWatch alarm metric", usage["alarm_metrics"]),
        Item("monitoring", "CloudWatch metric", 14),  # seven of each thing group, see fleet_health
        Item("monitoring", "CloudWatch logs", usage["log_gb"]),
        Item("monitoring", "KMS key", 1),
        Item("monitoring", "Lambda request", usage["function_requests"]),
        Item("monitoring", "Lambda", usage["function_gb_seconds"]),
        *_others(stage, usage),
    ]


def _endpoint(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    endpoint = stage.endpoint
    if isinstance(endpoint, InstanceEndpoint):
        return [Item("endpoint", endpoint.instance_type, endpoint.min_instances * usage["hours"])]
    if isinstance(endpoint, AsyncEndpoint):
        hours = endpoint.min_instances * usage["hours"] if endpoint.min_instances else usage["async_hours"]
        return [Item("endpoint", endpoint.instance_type, hours)]
    if isinstance(endpoint, ServerlessEndpoint):
        seconds = usage["requests"] * usage["serverless_seconds"]
        return [Item("endpoint", "serverless inference", seconds * endpoint.memory_mb / 1024)]
    return []


def network_items(network: Network, usage: Mapping[str, float]) -> list[Item]:
    """What a network is billed for; nothing of one that is there."""
    if not isinstance(network, NewNetwork):
        return []
    if network.egress == "nat":
        return [
            Item("network", "NAT gateway", usage["hours"]),
            Item("network", "NAT gateway, data", usage["nat_gb"]),
        ]
    return [Item("network", "interface endpoint", INTERFACE_ENDPOINTS * network.zones * usage["hours"])]


def _devices(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    devices = usage["devices"]
    detections = devices * usage["detections"] * DAYS / MILLION
    heartbeats = devices * usage["heartbeats"] * DAYS / MILLION
    segmenters = heartbeats / 2  # the uploader's are on a topic that no rule is about
    # the roll-out's rule is on both; each destination of consumers is one on detections, the table one on heartbeats
    rules = detections * (1 + len(stage.consumers.destinations)) + segmenters * 2
    items = [
        Item("devices", "Greengrass core device", devices),
        Item("devices", "IoT connection", devices * usage["hours"] * 60 / MILLION),
        Item("devices", "IoT message", detections + heartbeats),
        Item("devices", "IoT rule or action", 2 * rules),  # each rule has one action
        Item("devices", "SQS request", 2 * (detections + segmenters)),
        Item("devices", "DynamoDB write", detections + 2 * segmenters),  # observations, and last heartbeats
    ]
    if "firehose" in stage.consumers.destinations:
        items.append(Item("devices", "Firehose", detections * 5))  # messages of 5 KB: a million is 5 GB
    if "eventbridge" in stage.consumers.destinations:
        items += [  # by way of a queue and a pipe
            Item("devices", "SQS request", 3 * detections),
            Item("devices", "EventBridge pipe request", detections),
            Item("devices", "EventBridge custom event", detections),
        ]
    return items


def _training(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    trainings = per_month(stage.training.schedule)
    if stage.training.new_examples is not None:
        trainings += usage["trainings_by_examples"]
    hours = trainings * usage["training_hours"] * usage["spot_share"]  # the definition asks for spot instances
    return [
        Item("training", stage.training.training_instance, hours),
        Item("training", stage.training.processing_instance, trainings * usage["processing_hours"]),
    ]


def _api(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    if stage.api is None:
        return []
    items = [Item("API", "API Gateway REST request", usage["requests"] / MILLION)]
    if stage.api.waf == "managed":
        items += [Item("API", "WAF web ACL", 1), Item("API", "WAF rule", 4)]
    return items


def _others(stage: Stage, usage: Mapping[str, float]) -> list[Item]:
    items: list[Item] = []
    if stage.simulator is not None:
        items += [Item("simulator", stage.simulator.instance_type, usage["hours"]), Item("simulator", "EBS gp3", 30)]
    if stage.live_page is not None:
        items.append(Item("live page", "Secrets Manager secret", 1))  # what it asks for is in the functions' requests
    if stage.delivery is not None:
        runs = usage["deliveries"]
        minutes = usage["test_minutes"] + usage["other_minutes"]
        items += [
            Item("delivery", "CodeBuild large", runs * usage["test_minutes"]),
            Item("delivery", "CodeBuild small", runs * usage["other_minutes"]),
            Item("delivery", "CodePipeline V2 action", runs * minutes),
        ]
    return items


def _examples_gb(usage: Mapping[str, float]) -> float:
    """That come in a day."""
    return usage["devices"] * usage["examples"] * usage["example_mb"] / 1024


def per_month(schedule: str | None) -> float:
    """How often a schedule is due in a month.

    Raises:
        SettingsError: a cron expression that is due neither weekly, monthly nor daily.
    """
    if schedule is None:
        return 0.0
    if found := re.fullmatch(r"rate\((\d+) (hours?|days?)\)", schedule):
        return DAYS / int(found[1]) * (24 if found[2].startswith("hour") else 1)
    minute, hour, day, month, weekday, _ = schedule.removeprefix("cron(").removesuffix(")").split()
    if not (minute.isdigit() and hour.isdigit() and month == "*"):
        raise SettingsError(f"expected a schedule at one minute and hour of every month, got {schedule!r}")
    if day == "?" and weekday.isalnum():
        return DAYS / 7
    if day.isdigit():
        return 1.0
    if day == "*":
        return DAYS
    raise SettingsError(f"expected a schedule that is due daily, weekly or monthly, got {schedule!r}")


def cost(item: Item, prices: Mapping[str, Price]) -> float:
    """In USD a month.

    Raises:
        SettingsError: there is no price.
    """
    if item.price not in prices:
        raise SettingsError(f"expected a price of {item.price} in {FOLDER.name}/prices.json; add it, with its source")
    return item.quantity * prices[item.price].usd
